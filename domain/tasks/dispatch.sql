-- Ready tasks are marked dispatched in fair order; their messages go out after the commit. As atelier_system.

-- Up to p_free tasks of one queue, in fair order: start-time fair queueing over organizations, weighted by
-- their plans. Every dispatched task moves its organization's turn 1 / weight ahead, and the earliest turn is next. Who
-- comes with work after a pause begins at the queue's present turn, so that nobody saves up turns, and a light
-- organization goes before the backlog of a heavy one. With p_capped a plan's bound on dispatched and running images holds.
-- The present turn of a queue is kept in the row of org_system, whose own tasks are thus always next.
--
-- The organizations are found by a loose index scan (ix_tasks_ready), so a long backlog is never read, and what is not
-- due is skipped (PostgreSQL 18 does so over the priorities that stand before run_at in the index).
-- What is looked up per organization is asked in a subquery each, and where rows are chosen by their actors these are
-- compared `is true`, which no index serves: for tables that were empty a moment ago the planner would rather read a backlog
-- once, or an index of something else from end to end.
-- With p_lane {other, slow, struggling} the queue is one of two lanes: of the tasks whose turn it is, those that belong in
-- the other one are moved there, as they are, and are not sent; they come back without an actor.
-- `ahead` are those of the ids whose organizations come back from a pause: they have had less than their shares, and may
-- pass what is on its way to workers already.
create or replace function dispatch_queue(p_queue text, p_actors text[], p_free integer, p_capped boolean, p_lane jsonb)
returns table (actor text, ids bigint[], ahead bigint[])
language plpgsql as $$
declare
    organizations text[];
    picked bigint[];
    picked_actors text[];
    hurried boolean[];
    astray bigint[];
begin
    if p_free <= 0 then
        return;
    end if;
    with recursive having_work as (
        (select t.organization_id, t.run_at <= now() and t.actor = any (p_actors) as due from tasks t
         where t.state = 'ready' and t.queue = p_queue
         order by t.organization_id, t.priority, t.run_at limit 1)
        union all
        select next.* from having_work w cross join lateral (
            select t.organization_id, t.run_at <= now() and t.actor = any (p_actors) from tasks t
            where t.state = 'ready' and t.queue = p_queue and t.organization_id > w.organization_id
            order by t.organization_id, t.priority, t.run_at limit 1
        ) next
    )
    select array_agg(w.organization_id) into organizations
    from having_work w
    where w.due or (
        select true from tasks t
        where t.state = 'ready' and t.queue = p_queue and t.organization_id = w.organization_id
            and t.run_at <= now() and (t.actor = any (p_actors)) is true
        order by t.priority, t.run_at limit 1
    );
    if organizations is null then
        return;
    end if;
    with held as (
        select t.organization_id, count(*) as tasks from tasks t
        where p_capped and t.state in ('dispatched', 'running') and t.queue = p_queue group by t.organization_id
    ), present as (
        select coalesce(max(n.turn), 0) as turn from queue_turns n where (n.organization_id, n.queue) = ('org_system', p_queue)
    ), contenders as (
        select s.organization_id, s.weight, greatest(s.turn, now.turn) as turn, coalesce(s.turn < now.turn, true) as returns,
            case when p_capped then s.images_at_once - coalesce(h.tasks, 0) end as room
        from (
            select o.organization_id, o.weight, o.images_at_once,
                (select u.turn from queue_turns u where (u.organization_id, u.queue) = (o.organization_id, p_queue)) as turn
            from organization_shares(organizations) o
        ) s
        cross join present now
        left join held h on h.organization_id = s.organization_id
    ), dealt as (
        -- Turns are dealt before any task is looked at. Nobody gets more than his share of what is free, and one.
        select d.organization_id, d.weight, d.first, d.returns, d.room, count(*) as tasks
        from (
            select c.organization_id, c.weight, c.room, c.returns, c.turn as first, c.turn + n / c.weight as turn
            from (
                select k.*, least(k.room, p_free, ceil(p_free * k.weight / sum(k.weight) over ()) + 1)::integer as most
                from contenders k where k.room is null or k.room > 0
            ) c
            cross join lateral generate_series(0, c.most - 1) n
            order by 6 limit p_free
        ) d
        group by d.organization_id, d.weight, d.first, d.returns, d.room
    ), chosen as (
        select d.*, mine.id, mine.actor
        from dealt d
        cross join lateral (
            select t.id, t.actor from tasks t
            where t.state = 'ready' and t.queue = p_queue and t.organization_id = d.organization_id
                and t.run_at <= now() and (t.actor = any (p_actors)) is true
            order by t.priority, t.run_at, t.id
            limit d.tasks
            for update skip locked
        ) mine
    ), served as (
        select c.organization_id, c.weight, c.first, count(*) as tasks,
            count(*) = c.tasks and c.tasks is distinct from c.room as goes_on
        from chosen c group by c.organization_id, c.weight, c.first, c.tasks, c.room
    ), turned as (
        -- The present turn never passes that of one who may have more to do: what he was not given yet is owed to him.
        insert into queue_turns as u (organization_id, queue, turn)
        select s.organization_id, p_queue, s.first + s.tasks / s.weight from served s where s.organization_id <> 'org_system'
        union all
        select 'org_system', p_queue,
            least(max(s.first + (s.tasks - 1) / s.weight), min(s.first + s.tasks / s.weight) filter (where s.goes_on))
        from served s having count(*) > 0
        on conflict on constraint pk_queue_turns do update set turn = excluded.turn
    )
    select array_agg(c.id), array_agg(c.actor), array_agg(c.returns) into picked, picked_actors, hurried from chosen c;

    if p_lane is not null and picked is not null then
        execute format('select array_agg(p.id) from unnest($1) as p (id) where (p.id in (select %I($1))) <> $2', p_lane ->> 'struggling')
        into astray using picked, (p_lane ->> 'slow')::boolean;
        if astray is not null then
            update tasks t set queue = p_lane ->> 'other' where t.id = any (astray);
            return query select null::text, astray, '{}'::bigint[];
        end if;
    end if;
    update tasks t set state = 'dispatched', dispatched_at = now()
    where t.id = any (picked) and (astray is null or t.id <> all (astray));
    return query
    select p.actor, array_agg(p.id order by p.id), coalesce(array_agg(p.id) filter (where p.hurries), '{}')
    from unnest(picked, picked_actors, hurried) as p (id, actor, hurries)
    where astray is null or p.id <> all (astray)
    group by p.actor;
end
$$;
grant execute on function dispatch_queue to atelier_system;

-- One step of the leading relay: recover, expand, dispatch. p_queues: rows of {queue, size, capped, lane}. `waiting` are
-- the tasks of each queue that had been dispatched before, and that nobody has claimed yet; `moved` went to another lane.
-- A message is {queue, actor, tasks, those of them that go ahead}. p_unclaimed null: recovery has had its turn lately.
create or replace function relay_step(
    p_types text[], p_reactions jsonb, p_actors text[], p_queues jsonb, p_limit integer, p_unclaimed interval,
    out expanded integer, out set_aside integer, out recovered integer, out died integer, out head bigint,
    out waiting jsonb, out moved integer, out messages jsonb
)
language plpgsql as $$
begin
    -- Only the holder of the leader's lock may hand out positions; a session that lost it waits here.
    perform pg_advisory_xact_lock(hashtext('atelier.relay'));
    recovered := 0;
    died := 0;
    if p_unclaimed is not null then
        select r.recovered, r.died into recovered, died from recover_tasks(p_unclaimed) r;
    end if;
    select e.expanded, e.set_aside into expanded, set_aside from expand_events(p_types, p_reactions, p_limit) e;
    select jsonb_object_agg(q.queue, (select count(*) from tasks t where t.state = 'dispatched' and t.queue = q.queue))
    into waiting from jsonb_to_recordset(p_queues) as q (queue text);
    select coalesce(jsonb_agg(jsonb_build_array(q.queue, d.actor, d.ids, d.ahead)) filter (where d.actor is not null), '[]'),
        coalesce(sum(cardinality(d.ids)) filter (where d.actor is null), 0)
    into messages, moved
    from jsonb_to_recordset(p_queues) as q (queue text, size integer, capped boolean, lane jsonb)
    cross join lateral dispatch_queue(q.queue, p_actors, q.size - (waiting ->> q.queue)::integer, q.capped, q.lane) d
    where ( -- one look instead of a call for nothing
        select true from tasks t where t.state = 'ready' and t.queue = q.queue
        order by t.organization_id, t.priority, t.run_at limit 1
    );
    head := coalesce((select f.position + 0 from feed f order by f.position + 0 desc limit 1), 0);
end
$$;
grant execute on function relay_step to atelier_system;

-- Messages that the broker did not take: their tasks are ready again, unless somebody has claimed them all the same.
create or replace function undispatch_tasks(p_tasks bigint[]) returns void
language sql as $$
    with unsent as (
        select t.id from tasks t where t.id = any (p_tasks) and t.state = 'dispatched' order by t.id for update skip locked
    )
    update tasks t set state = 'ready', dispatched_at = null from unsent u where t.id = u.id
$$;
grant execute on function undispatch_tasks to atelier_system;

-- What a scrape wants to know, without ever counting a whole backlog: counts stop at p_cap. `scheduled` are those whose
-- time comes later, which `ready` leaves out.
create or replace function sample_tasks(p_queues text[], p_cap integer)
returns table (
    queue text, ready bigint, scheduled bigint, dispatched bigint, running bigint, oldest_seconds double precision
)
language sql stable as $$
    select q.queue, w.ready, w.scheduled,
        (select count(*) from (select from tasks t where t.state = 'dispatched' and t.queue = q.queue limit p_cap) r),
        (select count(*) from (select from tasks t where t.state = 'running' and t.queue = q.queue limit p_cap) r),
        w.oldest_seconds
    from unnest(p_queues) as q (queue)
    cross join lateral (
        with recursive having_work as (
            (select t.organization_id from tasks t where t.state = 'ready' and t.queue = q.queue
             order by t.organization_id limit 1)
            union all
            select (select t.organization_id from tasks t
                    where t.state = 'ready' and t.queue = q.queue and t.organization_id > h.organization_id
                    order by t.organization_id limit 1)
            from having_work h where h.organization_id is not null
        )
        select
            (select count(*) from (
                select from having_work h cross join lateral (
                    select from tasks t
                    where t.state = 'ready' and t.queue = q.queue and t.organization_id = h.organization_id
                        and t.run_at <= now()
                    limit p_cap
                ) due limit p_cap
            ) r) as ready,
            (select count(*) from (
                select from having_work h cross join lateral (
                    select from tasks t
                    where t.state = 'ready' and t.queue = q.queue and t.organization_id = h.organization_id
                        and t.run_at > now()
                    limit p_cap
                ) later limit p_cap
            ) r) as scheduled,
            coalesce((
                select max(extract(epoch from now() - oldest.run_at))
                from having_work h cross join lateral (
                    select t.run_at from tasks t
                    where t.state = 'ready' and t.queue = q.queue and t.organization_id = h.organization_id
                        and t.run_at <= now()
                    order by t.priority, t.run_at limit 1
                ) oldest
            ), 0) as oldest_seconds
    ) w
$$;
grant execute on function sample_tasks to atelier_system;

create or replace function sample_events(p_cap integer)
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
grant execute on function sample_events to atelier_system;
