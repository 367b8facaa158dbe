-- Who waits for how long, measured by the leading relay each second, and told to the API's processes. As atelier_system.

-- Of each organization with tasks that could be claimed: since when the first of them is due, and in seconds; whether its
-- plan's bound on images at once is what it waits for; whether more of them wait than its plan allows. No backlog is read
-- but up to that bound, and only where the first has waited for seconds.
create or replace function sample_backlogs(p_queue text)
returns table (organization_id text, head timestamptz, age double precision, capped boolean, too_deep boolean)
language sql stable as $$
    with recursive having_work as (
        (select t.organization_id from tasks t where t.state = 'ready' and t.queue = p_queue
         order by t.organization_id limit 1)
        union all
        select (select t.organization_id from tasks t
                where t.state = 'ready' and t.queue = p_queue and t.organization_id > w.organization_id
                order by t.organization_id limit 1)
        from having_work w where w.organization_id is not null
    ), open as (
        select t.organization_id, count(*) as tasks, count(*) filter (where t.state = 'running') as running,
            min(t.run_at) filter (where t.state = 'dispatched') as head
        from tasks t where t.state in ('dispatched', 'running') and t.queue = p_queue group by t.organization_id
    ), heads as (
        select h.organization_id, min(h.head) as head
        from (
            select w.organization_id, oldest.run_at as head
            from having_work w cross join lateral (
                select t.run_at from tasks t
                where t.state = 'ready' and t.queue = p_queue and t.organization_id = w.organization_id and t.run_at <= now()
                order by t.priority, t.run_at limit 1
            ) oldest
            union all
            select o.organization_id, o.head from open o where o.head is not null
        ) h
        group by h.organization_id
    )
    select h.organization_id, h.head, extract(epoch from now() - h.head),
        coalesce(o.running > 0 and o.tasks >= s.images_at_once, false),
        s.images_queued is not null and h.head < now() - interval '5 seconds' and exists (
            select from tasks t
            where t.state = 'ready' and t.queue = p_queue and t.organization_id = h.organization_id and t.run_at <= now()
            offset s.images_queued
        )
    from heads h
    join organization_shares(array(select w.organization_id from heads w)) s on s.organization_id = h.organization_id
    left join open o on o.organization_id = h.organization_id
$$;
grant execute on function sample_backlogs to atelier_system;

-- These organizations have too much waiting; all others have not. The row of org_system speaks of the installation.
create or replace function publish_backlogs(p_organizations text[], p_seconds double precision[]) returns void
language sql as $$
    delete from backlogs b where b.organization_id <> all (p_organizations);
    insert into backlogs as b (organization_id, seconds, measured_at)
    select told.organization_id, told.seconds, now() from unnest(p_organizations, p_seconds) as told (organization_id, seconds)
    on conflict on constraint pk_backlogs do update set seconds = excluded.seconds, measured_at = excluded.measured_at;
$$;
grant execute on function publish_backlogs to atelier_system;

-- What no relay has measured lately says nothing.
create or replace function current_backlogs() returns table (organization_id text, seconds double precision)
language sql stable as $$
    select b.organization_id, b.seconds from backlogs b where b.measured_at > now() - interval '10 seconds'
$$;
grant execute on function current_backlogs to atelier_system;
