-- What died is found and given another chance, or buried.

-- Appends `task.died` for tasks that the same transaction has marked dead.
create or replace function append_task_died(p_tasks bigint[]) returns void
language sql as $$
    with facts as (
        insert into events (organization_id, id, type, version, subject, correlation_id, causation_id, traceparent, data)
        select t.organization_id, new_id('evt'), 'task.died', 1, t.subject, e.correlation_id, t.event_id, e.traceparent,
            jsonb_build_object('task', t.id, 'actor', t.actor, 'attempts', t.attempts, 'deaths', t.deaths)
        from tasks t join events e on (e.organization_id, e.id) = (t.organization_id, t.event_id)
        where t.id = any (p_tasks) and t.state = 'dead'
        returning organization_id, id, type
    )
    insert into pending_events (event_id, organization_id, type) select f.id, f.organization_id, f.type from facts f
$$;
grant execute on function append_task_died to atelier_app, atelier_system;

-- A task whose attempts are used up. Runs as atelier_app inside the task's organization; false: not ours any more.
create or replace function bury_task(p_task bigint, p_token bigint, p_failure jsonb) returns boolean
language plpgsql as $$
begin
    update tasks t set state = 'dead', attempts = t.attempts + 1, ended_at = now(), lease_until = null,
        failures = t.failures || p_failure
    where t.id = p_task and t.lease_token = p_token and t.state = 'running';
    if not found then
        return false;
    end if;
    perform append_task_died(array[p_task]);
    return true;
end
$$;
grant execute on function bury_task to atelier_app;

-- The worker of these running tasks is gone, which is a death: the third one buries a task, the others make it ready. Of many
-- tasks that a worker held, nearly all are innocent of its end: what died among more than eight does not count towards the
-- three, and the tenth death of any kind buries. Those that have died before, and in company, rest first for as long as
-- chance will have it, within a bound that doubles: so they part from the one that may be guilty, and a worker that dies
-- every few seconds does not take the same ones with it each time. Each death notes among how many it was, and the seconds
-- of rest; `deaths` says how many of those notes are of this life, for a replay sets it to zero and keeps them.
create or replace function note_deaths(p_tasks bigint[], out recovered integer, out died integer)
language plpgsql as $$
declare
    buried bigint[];
begin
    with moved as (
        update tasks t set
            deaths = t.deaths + 1,
            state = case when suspect.guilty then 'dead' else 'ready' end,
            ended_at = case when suspect.guilty then now() end,
            run_at = now() + suspect.seconds * interval '1 second',
            lease_until = null,
            failures = t.failures || jsonb_build_object('at', now(), 'kind', 'death', 'reason', 'its worker died', 'owner', t.owner,
                'among', suspect.among, 'rest', round(suspect.seconds::numeric, 3))
        from (
            select judged.*,
                case when judged.deaths > 0 and judged.among > 1 and not judged.guilty
                    then random() * least(3 * 2 ^ (judged.deaths - 1), 24) else 0 end as seconds
            from (
                select held.id, held.deaths, held.among,
                    held.deaths >= 9 or held.among <= 8 and 2 <= (
                        select count(*) from (
                            select f.value from jsonb_array_elements(held.failures) with ordinality f (value, place)
                            where f.value ->> 'kind' = 'death' order by f.place desc limit held.deaths
                        ) death where (death.value ->> 'among')::integer <= 8
                    ) as guilty
                from (
                    select s.id, s.deaths, s.failures, count(*) over (partition by s.owner) as among
                    from tasks s where s.id = any (p_tasks)
                ) held
            ) judged
        ) suspect
        where t.id = suspect.id
        returning t.id, t.state
    )
    select array_agg(m.id) filter (where m.state = 'dead'), count(*) into buried, recovered from moved m;
    if buried is not null then
        perform append_task_died(buried);
    end if;
    died := coalesce(cardinality(buried), 0);
end
$$;
grant execute on function note_deaths to atelier_system;

-- Dispatched tasks that nobody has claimed for so long become ready again: their message may be lost. One that is not is
-- told twice, and finds nothing to claim the second time.
create or replace function resend_unclaimed(p_unclaimed interval) returns integer
language plpgsql as $$
declare
    unclaimed integer;
begin
    with lost as (
        select t.id from tasks t
        where t.id = any (array(
                select s.id from tasks s where s.state = 'dispatched' and s.dispatched_at < now() - p_unclaimed limit 1000
            ))
            and (t.state = 'dispatched') is true and t.dispatched_at < now() - p_unclaimed
        order by t.id for update skip locked
    )
    update tasks t set state = 'ready', dispatched_at = null where t.id = any (array(select l.id from lost l));
    get diagnostics unclaimed = row_count;
    return unclaimed;
end
$$;
grant execute on function resend_unclaimed to atelier_system;

-- As atelier_system. A lease that ran out is a death. A dispatched task that nobody claimed (its message was lost)
-- becomes ready again.
create or replace function recover_tasks(p_unclaimed interval, out recovered integer, out died integer)
language plpgsql as $$
declare
    expired bigint[];
begin
    recovered := 0;
    died := 0;
    select array_agg(x.id) into expired from (
        select t.id from tasks t
        where t.id = any (array(select s.id from tasks s where s.state = 'running' and s.lease_until < now() limit 500))
            and (t.state = 'running') is true and t.lease_until < now()
        order by t.id for update skip locked
    ) x;
    if expired is not null then
        select d.recovered, d.died into recovered, died from note_deaths(expired) d;
    end if;

    recovered := recovered + resend_unclaimed(p_unclaimed);
end
$$;
grant execute on function recover_tasks to atelier_system;

-- As atelier_system. Tasks of workers that are known to be gone (`lost_owners`) need not wait for their lease, nor those
-- whose message one of them may have had in its hands: two looks, half a second apart, have found it gone by now.
create or replace function recover_orphans(p_owners integer[], out recovered integer, out died integer)
language plpgsql as $$
declare
    orphans bigint[];
begin
    select array_agg(x.id) into orphans from (
        select t.id from tasks t
        where t.id = any (array(
                select s.id from tasks s where s.state = 'running' and (s.owner_number = any (p_owners)) limit 500
            ))
            and (t.state = 'running') is true and t.owner_number = any (p_owners)
        order by t.id for update skip locked
    ) x;
    select d.recovered, d.died into recovered, died from note_deaths(orphans) d;
    recovered := recovered + resend_unclaimed(interval '500 milliseconds');
end
$$;
grant execute on function recover_orphans to atelier_system;
