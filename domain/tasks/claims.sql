-- Claim, renew, give back: several organizations' tasks at once, as atelier_system.

-- What is not there to be claimed any more is silently left out: that makes doubled and late messages harmless.
-- What this very owner has claimed already, but never heard of, it gets again, under a new token.
-- p_number is the lock of the claiming process (`owners.sql`); null when it holds none.
create or replace function claim_tasks(p_tasks bigint[], p_actors text[], p_owner text, p_number integer, p_lease interval)
returns table (
    id bigint, organization_id text, event_id text, event_type text, event_data jsonb, occurred_at timestamptz,
    correlation_id text, traceparent text, actor text, target text, subject text, attempts smallint, deaths smallint,
    lease_token bigint, waited_seconds double precision
)
language sql as $$
    with free as (
        select t.id from tasks t
        where t.id = any (p_tasks) and (t.actor = any (p_actors)) is true
            and (t.state in ('ready', 'dispatched') and t.run_at <= now() or t.state = 'running' and t.owner = p_owner)
        order by t.id for update skip locked
    ), claimed as (
        update tasks t set state = 'running', owner = p_owner, owner_number = p_number, started_at = now(),
            lease_until = now() + p_lease, lease_token = nextval('lease_tokens')
        where t.id = any (array(select f.id from free f))
        returning t.*
    )
    select c.id, c.organization_id, c.event_id, e.type, e.data, e.occurred_at, e.correlation_id, e.traceparent, c.actor,
        c.target, c.subject, c.attempts, c.deaths, c.lease_token, extract(epoch from now() - c.run_at)
    from claimed c
    cross join lateral (
        select e.* from events e where e.organization_id = c.organization_id and e.id >= c.event_id order by e.id limit 1
    ) e
    where e.id = c.event_id
$$;
grant execute on function claim_tasks to atelier_system;

-- The ids that are still ours; the others were revoked (cancelled, or recovered after the lease had run out). They go on
-- under the number that the process holds now: its connection may have broken since the claim. A row that someone has
-- locked is left out of the renewal, never waited for: one of them must not cost the others their leases, and recovery
-- leaves locked rows alone too.
create or replace function renew_leases(p_tasks bigint[], p_tokens bigint[], p_number integer, p_lease interval) returns setof bigint
language sql as $$
    with held as (
        select t.id from tasks t join unnest(p_tasks, p_tokens) as mine (id, token) on t.id = mine.id and t.lease_token = mine.token
        where t.state = 'running' order by t.id for update of t skip locked
    ), renewed as (
        update tasks t set lease_until = now() + p_lease, owner_number = p_number from held h where t.id = h.id
    )
    select t.id from tasks t join unnest(p_tasks, p_tokens) as mine (id, token) on t.id = mine.id and t.lease_token = mine.token
    where t.state = 'running'
$$;
grant execute on function renew_leases to atelier_system;

-- At SIGTERM: ready at once, with no count raised.
create or replace function give_back_tasks(p_tasks bigint[], p_tokens bigint[]) returns integer
language plpgsql as $$
declare
    given integer;
begin
    with held as (
        select t.id from tasks t join unnest(p_tasks, p_tokens) as mine (id, token) on t.id = mine.id and t.lease_token = mine.token
        where t.state = 'running' order by t.id for update of t skip locked
    )
    update tasks t set state = 'ready', run_at = now(), lease_until = null from held h where t.id = h.id;
    get diagnostics given = row_count;
    return given;
end
$$;
grant execute on function give_back_tasks to atelier_system;
