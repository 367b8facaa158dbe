-- Accepts a generation: one call in autocommit is one transaction, one round trip, one flushed commit. Runs as
-- atelier_app. Ids, time and the answer's bytes come from the caller, so that a replay is byte-equal.
--   outcome 0  accepted
--   outcome 1  the key was used before for the same request: `replay` holds the first answer's bytes
--   outcome 2  the key was used before for another request
-- Raises AT402 when there are too few credits (which undoes everything), 55P03 when another request with the same key
-- has been busy for two seconds.
create or replace function accept_generation(
    p_organization text, p_scope text, p_key text, p_fingerprint bytea, p_answer bytea,
    p_id text, p_status text, p_engine text, p_template text, p_request jsonb, p_project text, p_metadata jsonb,
    p_run_at timestamptz, p_created_at timestamptz, p_price integer, p_hold_id text,
    p_event_id text, p_event_data jsonb, p_traceparent text,
    out outcome integer, out replay bytea
)
language plpgsql as $$
declare
    seen bytea;
begin
    perform set_config('app.organization', p_organization, true);
    outcome := 0;
    if p_key is not null then
        perform set_config('lock_timeout', '2s', true);
        insert into idempotency_keys (organization_id, scope, key, fingerprint, status, body)
        values (p_organization, p_scope, p_key, p_fingerprint, 202, p_answer) on conflict do nothing;
        if not found then -- a new snapshot: the other request's row is visible now
            select k.fingerprint, k.body into seen, replay from idempotency_keys k
            where (k.organization_id, k.scope, k.key) = (p_organization, p_scope, p_key);
            outcome := case when seen = p_fingerprint then 1 else 2 end;
            return;
        end if;
    end if;
    insert into generations (organization_id, id, status, engine, template, request, project, metadata, run_at, price, hold_id, created_at)
    values (p_organization, p_id, p_status, p_engine, p_template, p_request, p_project, p_metadata, p_run_at, p_price, p_hold_id, p_created_at);
    insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id, created_at)
    values (p_organization, p_hold_id, 'hold', 'available', 'held', p_price, p_hold_id, p_id, p_created_at);
    insert into events (organization_id, id, type, version, subject, correlation_id, traceparent, data, occurred_at)
    values (p_organization, p_event_id, 'generation.accepted', 1, p_id, p_id, p_traceparent, p_event_data, p_created_at);
    insert into pending_events (event_id, organization_id, type) values (p_event_id, p_organization, 'generation.accepted');
    -- Last, so that the row that all requests of an organization want is locked for the shortest time.
    update credit_accounts a set available = a.available - p_price
    where a.organization_id = p_organization and a.available >= p_price;
    if not found then
        raise exception using errcode = 'AT402', message = 'not enough credits';
    end if;
end
$$;
grant execute on function accept_generation to atelier_app;
