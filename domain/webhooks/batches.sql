-- What a worker does for several organizations' deliveries at once, as atelier_system. Each statement joins on
-- (organization_id, id); nothing else crosses organizations.

-- Deliveries that may be sent now; the others (endpoint gone or disabled) are looked at one by one.
create or replace function load_deliveries(p_organizations text[], p_events text[], p_endpoints text[])
returns table (
    organization_id text, id text, event_id text, endpoint_id text, body bytea, url text, secret bytea,
    previous_secret bytea, previous_secret_until timestamptz, failing_since timestamptz, slow_since timestamptz
)
language sql stable as $$
    select d.organization_id, d.id, d.event_id, d.endpoint_id, d.body, w.url, w.secret, w.previous_secret,
        w.previous_secret_until, w.failing_since, w.slow_since
    from unnest(p_organizations, p_events, p_endpoints) as wanted (organization_id, event_id, endpoint_id)
    cross join lateral (
        select d.* from deliveries d
        where d.organization_id = wanted.organization_id and (d.event_id, d.endpoint_id) >= (wanted.event_id, wanted.endpoint_id)
        order by d.event_id, d.endpoint_id limit 1
    ) d
    cross join lateral (
        select w.* from webhook_endpoints w where (w.organization_id, w.id) = (wanted.organization_id, wanted.endpoint_id) limit 1
    ) w
    where (d.event_id, d.endpoint_id) = (wanted.event_id, wanted.endpoint_id) and w.status = 'enabled'
$$;
grant execute on function load_deliveries to atelier_system;

-- A body is built once: who comes second is told what the first has built.
create or replace function keep_bodies(p_organizations text[], p_ids text[], p_bodies bytea[])
returns table (organization_id text, id text, body bytea)
language sql as $$
    select set_config('lock_timeout', '1s', true); -- then each is tried by itself
    select set_config('synchronous_commit', 'on', true); -- before the first byte is sent
    update deliveries d set body = coalesce(d.body, built.body)
    from unnest(p_organizations, p_ids, p_bodies) as built (organization_id, id, body)
    where (d.organization_id, d.id) = (built.organization_id, built.id)
    returning d.organization_id, d.id, d.body
$$;
grant execute on function keep_bodies to atelier_system;

-- The record of deliveries that arrived: fence, attempt, end. Answers the tasks that were still ours.
create or replace function record_deliveries(p_results jsonb) returns setof bigint
language sql as $$
    select set_config('lock_timeout', '1s', true); -- then each is tried by itself
    select set_config('synchronous_commit', 'on', true); -- a charge, and what was told, must survive
    with r as (
        select * from jsonb_to_recordset(p_results) as r (
            task bigint, token bigint, organization text, delivery text, attempt text, started_at timestamptz,
            duration_ms integer, status_code smallint, response_body text)
    ), locked as ( -- in the order in which everybody locks tasks
        select t.id from tasks t
        where t.id = any (array(select r.task from r)) and (t.state = 'running') is true
            and exists (select from r where (r.task, r.token) = (t.id, t.lease_token))
        order by t.id for update of t
    ), held as (
        update tasks t set state = 'done', ended_at = now(), lease_until = null
        where t.id = any (array(select l.id from locked l))
        returning t.id
    ), ended as (
        update deliveries d set attempts = d.attempts + 1, failure_code = null, status = 'delivered',
            delivered_at = now(), next_attempt_at = null
        from r join held h on h.id = r.task
        where (d.organization_id, d.id) = (r.organization, r.delivery)
        returning d.organization_id, d.id
    ), noted as (
        insert into delivery_attempts (organization_id, id, delivery_id, started_at, duration_ms, status_code, response_body)
        select r.organization, r.attempt, r.delivery, r.started_at, r.duration_ms, r.status_code, r.response_body
        from r join ended e on (e.organization_id, e.id) = (r.organization, r.delivery)
    )
    select h.id from held h
$$;
grant execute on function record_deliveries to atelier_system;
