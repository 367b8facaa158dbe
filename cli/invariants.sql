-- What holds in the database of an installation that has come to rest: each statement names what breaks its rule.
-- Plain SQL on purpose, so that the judge shares no code with what it judges. Run it as atelier_system.
--
-- A rule's first line is `-- kind: what it says`. The kinds are what a breach means to a customer (lost, doubled,
-- overcharged) or to the operator (books, and balance: that one holds at any moment, not only at rest).

-- lost: an accepted generation comes to an end
select id from generations where status in ('queued', 'running');

-- lost: the end of a generation is told by an event
select g.id from generations g
where g.status in ('succeeded', 'failed', 'cancelled') and not exists (
    select from events e
    where (e.organization_id, e.subject) = (g.organization_id, g.id) and e.type = 'generation.' || g.status);

-- doubled: a generation has one end, and one more for each retry
select e.subject from events e
where e.type in ('generation.succeeded', 'generation.failed', 'generation.cancelled', 'generation.retried')
group by e.organization_id, e.subject
having count(*) > 1 + 2 * count(*) filter (where e.type = 'generation.retried');

-- lost: a success has its image
select g.id from generations g
left join assets a on (a.organization_id, a.generation_id) = (g.organization_id, g.id)
where g.status = 'succeeded' and a.id is null;

-- doubled: a generation has one image at most, and only when it succeeded
select g.id from generations g
join assets a on (a.organization_id, a.generation_id) = (g.organization_id, g.id)
group by g.organization_id, g.id having count(*) > 1 or g.status <> 'succeeded';

-- overcharged: a generation is charged once at most, and only when it succeeded
select g.id from generations g
join credit_entries c on (c.organization_id, c.generation_id) = (g.organization_id, g.id) and c.kind = 'settle'
group by g.organization_id, g.id having count(*) > 1 or g.status <> 'succeeded';

-- books: what was settled is what a generation says that it cost, and one that was drawn costs its price
select g.id from generations g
left join credit_entries c on (c.organization_id, c.generation_id) = (g.organization_id, g.id) and c.kind = 'settle'
group by g.organization_id, g.id
having coalesce(sum(c.amount), 0) <> coalesce(g.charged, 0)
    or (g.status = 'succeeded' and not g.reused and coalesce(sum(c.amount), 0) <> g.price);

-- books: an ended generation has no open hold, and a hold ends once, with its whole amount
select g.id from generations g
left join credit_entries c on (c.organization_id, c.generation_id) = (g.organization_id, g.id)
where g.status in ('succeeded', 'failed', 'cancelled')
group by g.organization_id, g.id, c.hold_id
having count(*) filter (where c.kind = 'hold') <> 1 or count(*) <> 2 or min(c.amount) <> max(c.amount);

-- balance: a balance is the sum of its entries, and never below zero
select a.organization_id from credit_accounts a
where a.available < 0 or a.available <> (
    select coalesce(sum(case when e.to_account = 'available' then e.amount
                             when e.from_account = 'available' then -e.amount else 0 end), 0)
    from credit_entries e where e.organization_id = a.organization_id);

-- books: no event waits for the relay
select event_id from pending_events;

-- books: no event was set aside
select event_id from set_aside_events;

-- books: the feed has every event once
select e.id from events e left join feed f on (f.organization_id, f.event_id) = (e.organization_id, e.id)
group by e.organization_id, e.id having count(f.position) <> 1;

-- books: no task that is due is open
select id::text from tasks where state in ('dispatched', 'running') or (state = 'ready' and run_at <= now());

-- books: the death of a task is told once
select t.id::text from tasks t
left join events e on e.organization_id = t.organization_id and e.type = 'task.died'
    and e.causation_id = t.event_id and (e.data ->> 'task')::bigint = t.id
where t.state = 'dead' group by t.id having count(e.id) <> 1;

-- lost: a generation whose render died has failed
select g.id from tasks t join generations g on (g.organization_id, g.id) = (t.organization_id, t.subject)
where t.state = 'dead' and t.actor = 'generations.render' and g.status not in ('failed', 'cancelled');

-- lost: what happens to a generation is delivered to every endpoint that wants it, or the delivery has failed
select e.id || ' to ' || w.id from events e
join webhook_endpoints w on w.organization_id = e.organization_id and w.created_at < e.occurred_at
    and (cardinality(w.event_types) = 0 or e.type = any (w.event_types))
left join deliveries d on (d.organization_id, d.event_id, d.endpoint_id) = (e.organization_id, e.id, w.id)
where e.type like 'generation.%' and w.status = 'enabled' and coalesce(d.status, 'pending') = 'pending';
