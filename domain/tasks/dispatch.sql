-- Ready tasks are marked dispatched in fair order; their messages go out after the commit. As atelier_system.

-- Up to `window - dispatched` tasks of one queue: every organization with work gets the same share of what is free.
-- The organizations are found by a loose index scan (ix_tasks_ready), so a long backlog is never read.
create function dispatch_queue(p_queue text, p_actors text[], p_window integer) returns table (actor text, ids bigint[])
language plpgsql as $$
declare
    free integer := p_window - (select count(*) from tasks t where t.state = 'dispatched' and t.queue = p_queue);
    organizations text[];
begin
    if free <= 0 then
        return;
    end if;
    with recursive having_work as (
        (select t.organization_id from tasks t where t.state = 'ready' and t.queue = p_queue
         order by t.organization_id limit 1)
        union all
        select (select t.organization_id from tasks t
                where t.state = 'ready' and t.queue = p_queue and t.organization_id > w.organization_id
                order by t.organization_id limit 1)
        from having_work w where w.organization_id is not null
    )
    select array_agg(w.organization_id) into organizations from having_work w where w.organization_id is not null;
    if organizations is null then
        return;
    end if;
    return query
    with candidates as (
        select mine.id, mine.run_at, row_number() over (partition by o.organization_id order by mine.priority, mine.run_at, mine.id) as turn
        from unnest(organizations) as o (organization_id)
        cross join lateral (
            select t.id, t.priority, t.run_at from tasks t
            where t.state = 'ready' and t.queue = p_queue and t.organization_id = o.organization_id
                and t.run_at <= now() and t.actor = any (p_actors)
            order by t.priority, t.run_at, t.id
            limit greatest(1, free / cardinality(organizations))
            for update skip locked
        ) mine
    ), chosen as (
        select c.id from candidates c order by c.turn, c.run_at limit free
    ), marked as (
        update tasks t set state = 'dispatched', dispatched_at = now() from chosen c where t.id = c.id
        returning t.actor, t.id
    )
    select m.actor, array_agg(m.id order by m.id) from marked m group by m.actor;
end
$$;

-- One step of the leading relay: recover, expand, dispatch. p_queues: rows of {queue, window}.
create function relay_step(
    p_types text[], p_reactions jsonb, p_actors text[], p_queues jsonb, p_limit integer, p_unclaimed interval,
    out expanded integer, out set_aside integer, out recovered integer, out died integer, out head bigint, out messages jsonb
)
language plpgsql as $$
begin
    -- Only the holder of the leader's lock may hand out positions; a session that lost it waits here.
    perform pg_advisory_xact_lock(hashtext('atelier.relay'));
    select r.recovered, r.died into recovered, died from recover_tasks(p_unclaimed) r;
    select e.expanded, e.set_aside into expanded, set_aside from expand_events(p_types, p_reactions, p_limit) e;
    select coalesce(jsonb_agg(jsonb_build_array(q.queue, d.actor, d.ids)), '[]') into messages
    from jsonb_to_recordset(p_queues) as q (queue text, size integer)
    cross join lateral dispatch_queue(q.queue, p_actors, q.size) d;
    head := coalesce((select f.position from feed f order by f.position desc limit 1), 0);
end
$$;

-- What a scrape wants to know, without ever counting a whole backlog: counts stop at p_cap.
create function sample_ledger(p_queues text[], p_cap integer)
returns table (queue text, ready bigint, dispatched bigint, running bigint, oldest_seconds double precision)
language sql stable as $$
    select q.queue,
        (select count(*) from (select from tasks t where t.state = 'ready' and t.queue = q.queue limit p_cap) r),
        (select count(*) from (select from tasks t where t.state = 'dispatched' and t.queue = q.queue limit p_cap) r),
        (select count(*) from (select from tasks t where t.state = 'running' and t.queue = q.queue limit p_cap) r),
        coalesce((
            with recursive having_work as (
                (select t.organization_id from tasks t where t.state = 'ready' and t.queue = q.queue
                 order by t.organization_id limit 1)
                union all
                select (select t.organization_id from tasks t
                        where t.state = 'ready' and t.queue = q.queue and t.organization_id > w.organization_id
                        order by t.organization_id limit 1)
                from having_work w where w.organization_id is not null
            )
            select max(extract(epoch from now() - oldest.run_at))
            from having_work w cross join lateral (
                select t.run_at from tasks t
                where t.state = 'ready' and t.queue = q.queue and t.organization_id = w.organization_id and t.run_at <= now()
                order by t.priority, t.run_at limit 1
            ) oldest
        ), 0)
    from unnest(p_queues) as q (queue)
$$;

create function sample_events(p_cap integer)
returns table (pending bigint, set_aside bigint, dead bigint, unknown_types text[], oldest_seconds double precision)
language sql stable as $$
    select
        (select count(*) from (select from pending_events limit p_cap) r),
        (select count(*) from (select from set_aside_events limit p_cap) r),
        (select count(*) from (select from tasks t where t.state = 'dead' limit p_cap) r),
        (select array_agg(distinct r.type) from (select p.type from pending_events p limit p_cap) r),
        coalesce((
            select extract(epoch from now() - e.occurred_at)
            from (select p.organization_id, p.event_id from pending_events p order by p.event_id limit 1) p
            join events e on (e.organization_id, e.id) = (p.organization_id, p.event_id)
        ), 0)
$$;
