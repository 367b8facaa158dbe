-- The ticks of schedules. As atelier_system.

-- Of each schedule what its own clock says (p_now is the machine's, the product clock is ahead of it), and its last tick
-- until then. Ticks of a clock that was wrong for a while lie in the future, and must not keep it from going on.
create or replace function schedule_state(p_names text[], p_by_product boolean[], p_now timestamptz)
returns table (name text, own_now timestamptz, last timestamptz)
language sql stable as $$
    select s.name, own.now, (
        select t.tick from schedule_ticks t where t.schedule = s.name and t.tick <= own.now order by t.tick desc limit 1)
    from unnest(p_names, p_by_product) as s (name, by_product)
    cross join lateral (
        select p_now + case when s.by_product
            then make_interval(secs => coalesce((select c.offset_seconds from product_clock c), 0)) else '0' end as now
    ) own
$$;
grant execute on function schedule_state to atelier_system;

-- p_ticks: rows of {schedule, tick, next_tick, event, subject, data}; without an event the tick is passed over. Each tick
-- is written once, and its event in the same statement: however many relays notice it, and however often, one of them
-- appends it. Answers the schedules whose events were appended.
create or replace function note_ticks(p_ticks jsonb) returns setof text
language sql as $$
    with given as materialized (
        select g.*, case when g.event is not null then new_id('evt') end as event_id
        from jsonb_to_recordset(p_ticks)
            as g (schedule text, tick timestamptz, next_tick timestamptz, event text, subject text, data jsonb)
    ), new as (
        insert into schedule_ticks (schedule, tick, next_tick, event_id)
        select g.schedule, g.tick, g.next_tick, g.event_id from given g
        on conflict do nothing returning schedule, event_id
    ), facts as (
        insert into events (organization_id, id, type, version, subject, correlation_id, data)
        select 'org_system', g.event_id, g.event, 1, g.subject, g.subject, g.data
        from given g join new n on n.event_id = g.event_id
    ), pending as (
        insert into pending_events (event_id, organization_id, type)
        select g.event_id, 'org_system', g.event from given g join new n on n.event_id = g.event_id
    )
    select n.schedule from new n where n.event_id is not null
$$;
grant execute on function note_ticks to atelier_system;

-- The newest tick of each schedule that ever was, and what has become of it.
create or replace function latest_ticks()
returns table (schedule text, tick timestamptz, next_tick timestamptz, event_id text, state text, ended_at timestamptz)
language sql stable as $$
    with recursive names as (
        (select t.schedule as name from schedule_ticks t order by t.schedule limit 1)
        union all
        select (select t.schedule from schedule_ticks t where t.schedule > n.name order by t.schedule limit 1)
        from names n where n.name is not null
    )
    select n.name, latest.tick, latest.next_tick, latest.event_id, task.state, task.ended_at
    from names n
    cross join lateral (
        select t.* from schedule_ticks t where t.schedule = n.name order by t.tick desc limit 1
    ) latest
    left join lateral (
        select t.state, t.ended_at from tasks t where t.event_id = latest.event_id order by t.actor limit 1
    ) task on true
$$;
grant execute on function latest_ticks to atelier_system;
