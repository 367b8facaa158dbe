-- What has been kept for long enough goes in batches, so that no statement holds anything for long. As atelier_system.
-- Each answers how many rows went; fewer than p_limit: there are no more. Rows are found by an index and deleted where
-- they lie: joined, they would be looked for in the whole table as soon as PostgreSQL thinks that they are many.

create or replace function prune_tasks(p_before timestamptz, p_limit integer) returns integer
language plpgsql as $$
declare
    gone integer;
begin
    delete from tasks t where t.id = any (array(
        select o.id from tasks o where o.state in ('done', 'cancelled') and o.ended_at < p_before
        order by o.ended_at limit p_limit for update skip locked
    ));
    get diagnostics gone = row_count;
    return gone;
end
$$;
grant execute on function prune_tasks to atelier_system;

create or replace function prune_idempotency_keys(p_before timestamptz, p_limit integer) returns integer
language plpgsql as $$
declare
    gone integer;
begin
    delete from idempotency_keys k where k.ctid = any (array(
        select o.ctid from idempotency_keys o where o.created_at < p_before
        order by o.created_at limit p_limit for update skip locked
    ));
    get diagnostics gone = row_count;
    return gone;
end
$$;
grant execute on function prune_idempotency_keys to atelier_system;

-- Deliveries with their attempts. Ids begin with the time, so that the primary key finds the old ones: p_before_id is an
-- id of that time.
create or replace function prune_deliveries(p_before_id text, p_limit integer) returns integer
language plpgsql as $$
declare
    gone integer;
begin
    with old as (
        select x.*
        from organizations o cross join lateral (
            select d.organization_id, d.id, d.ctid as place from deliveries d
            where d.organization_id = o.organization_id and d.id < p_before_id and d.status <> 'pending'
            order by d.id limit p_limit
            for update skip locked
        ) x
        limit p_limit
    ), tried as ( -- its foreign key is looked at when the statement ends
        delete from delivery_attempts a where a.ctid = any (array(
            select x.ctid from old o cross join lateral (
                select t.ctid from delivery_attempts t
                where (t.organization_id, t.delivery_id) = (o.organization_id, o.id) offset 0
            ) x
        ))
    )
    delete from deliveries d where d.ctid = any (array(select o.place from old o));
    get diagnostics gone = row_count;
    return gone;
end
$$;
grant execute on function prune_deliveries to atelier_system;

-- Attempts whose delivery is kept for longer.
create or replace function prune_attempts(p_before_id text, p_limit integer) returns integer
language plpgsql as $$
declare
    gone integer;
begin
    delete from delivery_attempts a where a.ctid = any (array(
        select x.place
        from organizations o cross join lateral (
            select t.ctid as place from delivery_attempts t
            where t.organization_id = o.organization_id and t.id < p_before_id
            order by t.id limit p_limit
            for update skip locked
        ) x
        limit p_limit
    ));
    get diagnostics gone = row_count;
    return gone;
end
$$;
grant execute on function prune_attempts to atelier_system;

create or replace function prune_notifications(p_before_id text, p_limit integer) returns integer
language plpgsql as $$
declare
    gone integer;
begin
    delete from notifications n where n.ctid = any (array(
        select x.place
        from organizations o cross join lateral (
            select t.ctid as place from notifications t
            where t.organization_id = o.organization_id and t.id < p_before_id and t.status <> 'pending'
            order by t.id limit p_limit
            for update skip locked
        ) x
        limit p_limit
    ));
    get diagnostics gone = row_count;
    return gone;
end
$$;
grant execute on function prune_notifications to atelier_system;

-- One page of the feed, and of the log with it: an event goes when it is old and nothing waits for it or speaks of it, be
-- it a task (some run a year after their event), a delivery or a person. No reader is told events of `p_private` types.
-- `last`: where the next page begins; null: no more of the feed is old.
create or replace function prune_log(
    p_before timestamptz, p_after bigint, p_limit integer, p_private text[], out last bigint, out gone integer
) language plpgsql as $$
declare
    oldest timestamptz;
begin
    with page as (
        select f.position, f.organization_id, f.event_id, f.type, e.occurred_at
        from feed f left join events e on (e.organization_id, e.id) = (f.organization_id, f.event_id)
        where f.position + 0 > p_after order by f.position + 0 limit p_limit
    ), old as (
        select p.* from page p
        where coalesce(p.occurred_at < p_before, true)
            and not exists (select from tasks t where t.event_id = p.event_id)
            and not exists (select from deliveries d where (d.organization_id, d.event_id) = (p.organization_id, p.event_id))
            and not exists (select from set_aside_events s where s.event_id = p.event_id)
    ), told as ( -- readers who were told less than this have missed something
        insert into feed_horizons as h (organization_id, position)
        select o.organization_id, max(o.position) from old o
        where o.type <> all (p_private) group by o.organization_id
        on conflict on constraint pk_feed_horizons do update set position = greatest(h.position, excluded.position)
    ), unfed as (
        delete from feed f using old o where (f.organization_id, f.position) = (o.organization_id, o.position)
    ), unlogged as (
        delete from events e using old o where (e.organization_id, e.id) = (o.organization_id, o.event_id)
    )
    select max(p.position), min(p.occurred_at), (select count(*) from old) into last, oldest, gone from page p;
    if oldest >= p_before then
        last := null;
    end if;
end
$$;
grant execute on function prune_log to atelier_system;

create or replace function prune_ticks(p_before timestamptz) returns integer
language plpgsql as $$
declare
    gone integer;
begin
    delete from schedule_ticks t
    where t.noted_at < p_before
        and exists (select from schedule_ticks n where n.schedule = t.schedule and n.tick > t.tick);
    get diagnostics gone = row_count;
    return gone;
end
$$;
grant execute on function prune_ticks to atelier_system;

-- What bulk operations that ended long ago did with single letters, and then they themselves; the audit trail has both.
create or replace function prune_bulk_operations(p_before timestamptz, p_limit integer) returns integer
language plpgsql as $$
declare
    gone integer;
begin
    with old as (
        select d.organization_id, d.operation_id, d.task_id
        from bulk_operations o join bulk_decisions d on d.operation_id = o.id
        where o.ended_at < p_before limit p_limit
    )
    delete from bulk_decisions d using old o
    where (d.organization_id, d.operation_id, d.task_id) = (o.organization_id, o.operation_id, o.task_id);
    get diagnostics gone = row_count;
    if gone < p_limit then
        delete from bulk_operations o where o.ended_at < p_before;
    end if;
    return gone;
end
$$;
grant execute on function prune_bulk_operations to atelier_system;
