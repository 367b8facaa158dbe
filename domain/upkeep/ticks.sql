-- The ticks of schedules. As atelier_system.

-- The last tick of each schedule, and how far the product clock is ahead.
create or replace function schedule_state() returns table (ahead_seconds bigint, last jsonb)
language sql stable as $$
    select coalesce((select c.offset_seconds from product_clock c), 0),
        coalesce((select jsonb_object_agg(s.schedule, s.tick)
                  from (select t.schedule, max(t.tick) as tick from schedule_ticks t group by t.schedule) s), '{}')
$$;
grant execute on function schedule_state to atelier_system;

-- p_ticks: rows of {schedule, tick, event, subject, data}; without an event the tick is passed over. Each tick is written
-- once, and its event in the same statement: however many relays notice it, and however often, one of them appends it.
create or replace function note_ticks(p_ticks jsonb) returns setof text
language sql as $$
    with given as (
        select * from jsonb_to_recordset(p_ticks) as g (schedule text, tick timestamptz, event text, subject text, data jsonb)
    ), new as (
        insert into schedule_ticks (schedule, tick) select g.schedule, g.tick from given g
        on conflict do nothing returning schedule, tick
    ), facts as (
        insert into events (organization_id, id, type, version, subject, correlation_id, data)
        select 'org_system', new_id('evt'), g.event, 1, g.subject, g.subject, g.data
        from given g join new n on (n.schedule, n.tick) = (g.schedule, g.tick) where g.event is not null
        returning organization_id, id, type
    ), pending as (
        insert into pending_events (event_id, organization_id, type) select f.id, f.organization_id, f.type from facts f
    )
    select f.type from facts f
$$;
grant execute on function note_ticks to atelier_system;
