-- `accept_generation` for several requests of one organization at once: one transaction, one flush, one lock of its
-- balance. Answers for each request, in their order, whether it was accepted; the others carry a key that was used before
-- (or by an earlier one of them) and have to be asked alone. Raises AT402 when there are too few credits for all of
-- them, which undoes everything: then each has to be asked alone.
create or replace function accept_generations(
    p_organization text, p_scopes text[], p_keys text[], p_fingerprints bytea[], p_answers bytea[],
    p_ids text[], p_statuses text[], p_engines text[], p_templates text[], p_requests jsonb[], p_projects text[],
    p_metadata jsonb[], p_run_at timestamptz[], p_created_at timestamptz[], p_prices integer[], p_hold_ids text[],
    p_event_ids text[], p_event_data jsonb[], p_traceparents text[]
) returns boolean[]
language plpgsql as $$
declare
    taken boolean[];
    total integer;
begin
    perform set_config('app.organization', p_organization, true), set_config('lock_timeout', '2s', true);
    with given as (
        select g.* from unnest(p_scopes, p_keys, p_fingerprints, p_answers)
            with ordinality as g (scope, key, fingerprint, answer, place)
    ), firsts as (
        select distinct on (g.scope, g.key) g.* from given g where g.key is not null order by g.scope, g.key, g.place
    ), kept as (
        insert into idempotency_keys (organization_id, scope, key, fingerprint, status, body)
        select p_organization, f.scope, f.key, f.fingerprint, 202, f.answer from firsts f
        on conflict do nothing returning scope, key
    ), fresh as (
        select f.place from firsts f join kept k on (k.scope, k.key) = (f.scope, f.key)
    )
    select array_agg(g.key is null or g.place in (select n.place from fresh n) order by g.place) into taken from given g;

    select coalesce(sum(r.price), 0) into total
    from unnest(p_prices) with ordinality as r (price, place) where taken[r.place];
    if total = 0 then
        return taken;
    end if;

    insert into generations (organization_id, id, status, engine, template, request, project, metadata, run_at, price, hold_id, created_at)
    select p_organization, r.id, r.status, r.engine, r.template, r.request, r.project, r.metadata, r.run_at, r.price, r.hold_id, r.created_at
    from unnest(p_ids, p_statuses, p_engines, p_templates, p_requests, p_projects, p_metadata, p_run_at, p_prices, p_hold_ids, p_created_at)
        with ordinality as r (id, status, engine, template, request, project, metadata, run_at, price, hold_id, created_at, place)
    where taken[r.place];
    insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id, created_at)
    select p_organization, r.hold_id, 'hold', 'available', 'held', r.price, r.hold_id, r.id, r.created_at
    from unnest(p_hold_ids, p_prices, p_ids, p_created_at) with ordinality as r (hold_id, price, id, created_at, place)
    where taken[r.place];
    insert into events (organization_id, id, type, version, subject, correlation_id, traceparent, data, occurred_at)
    select p_organization, r.event_id, 'generation.accepted', 1, r.id, r.id, r.traceparent, r.data, r.created_at
    from unnest(p_event_ids, p_ids, p_traceparents, p_event_data, p_created_at)
        with ordinality as r (event_id, id, traceparent, data, created_at, place)
    where taken[r.place];
    insert into pending_events (event_id, organization_id, type)
    select r.event_id, p_organization, 'generation.accepted'
    from unnest(p_event_ids) with ordinality as r (event_id, place) where taken[r.place];
    update credit_accounts a set available = a.available - total
    where a.organization_id = p_organization and a.available >= total;
    if not found then
        raise exception using errcode = 'AT402', message = 'not enough credits';
    end if;
    return taken;
end
$$;
grant execute on function accept_generations to atelier_app;
