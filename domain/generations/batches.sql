-- What a worker does for several organizations' renders at once, as atelier_system. Each statement joins on
-- (organization_id, id); nothing else crosses organizations.

-- Marks generations running; those that have ended meanwhile are left out, and those that somebody has locked.
create or replace function start_generations(p_organizations text[], p_ids text[])
returns table (organization_id text, id text, template text, request jsonb)
language plpgsql as $$
begin
    for n in 1 .. cardinality(p_ids) loop -- each by its key, whatever statistics say
        return query
        update generations started set status = 'running', started_at = coalesce(started.started_at, now())
        where (started.organization_id, started.id) = (
            select g.organization_id, g.id from generations g
            where (g.organization_id, g.id) = (p_organizations[n], p_ids[n])
                and (g.status in ('scheduled', 'queued', 'running')) is true
            for no key update skip locked
        )
        returning started.organization_id::text, started.id::text, started.template::text, started.request;
    end loop;
end
$$;
grant execute on function start_generations to atelier_system;

-- `claim_tasks`, and what is claimed to be drawn is marked running in the same transaction: one way to the database less
-- before an image is begun. `begun` is then what `start_generations` says of it. It waits for no generation that somebody
-- has locked, for the leases count from its beginning.
create or replace function claim_and_start(p_tasks bigint[], p_actors text[], p_owner text, p_number integer, p_lease interval)
returns table (
    id bigint, organization_id text, event_id text, event_type text, event_data jsonb, occurred_at timestamptz,
    correlation_id text, traceparent text, actor text, target text, subject text, attempts smallint, deaths smallint,
    lease_token bigint, waited_seconds double precision, begun jsonb
)
language sql as $$
    with claimed as materialized (
        select c.* from claim_tasks(p_tasks, p_actors, p_owner, p_number, p_lease) c
    ), started as materialized (
        select s.* from (
            select array_agg(c.organization_id) as organizations, array_agg(c.subject) as subjects
            from claimed c where c.actor = 'generations.render' having count(*) > 0
        ) drawn
        cross join lateral start_generations(drawn.organizations, drawn.subjects) s
    )
    select c.*, (
        select jsonb_build_object('template', s.template, 'request', s.request) from started s
        where c.actor = 'generations.render' and (s.organization_id, s.id) = (c.organization_id, c.subject)
        limit 1
    )
    from claimed c
$$;
grant execute on function claim_and_start to atelier_system;

-- Images of these identities that were made before, at most one each.
create or replace function find_images(p_organizations text[], p_identities text[])
returns table (
    organization_id text, identity text, storage_key text, sha256 text, format text, width integer, height integer, bytes bigint
)
language sql stable as $$
    select wanted.organization_id, found.identity, found.storage_key, found.sha256, found.format, found.width, found.height, found.bytes
    from unnest(p_organizations, p_identities) as wanted (organization_id, identity)
    cross join lateral (
        select a.* from assets a
        where hashtextextended(a.identity, 0) = hashtextextended(wanted.identity, 0)
            and a.identity = wanted.identity and (a.organization_id = wanted.organization_id) is true
        limit 1
    ) found
$$;
grant execute on function find_images to atelier_system;

-- The record of new images: fence, end, asset, charge and event of each, in one statement. Only what the fence returns
-- feeds the rest. Answers the tasks that were still ours, and the credits that each settled. Images that are handed out again are not for here: giving
-- their credits back takes the lock of a balance, which would have to be taken in order.
create or replace function record_images(p_results jsonb) returns table (task bigint, settled integer)
language sql as $$
    select set_config('lock_timeout', '1s', true); -- then each is tried by itself
    select set_config('synchronous_commit', 'on', true); -- a charge, and what was told, must survive
    with r as (
        select * from jsonb_to_recordset(p_results) as r (
            task bigint, token bigint, organization text, generation text, asset text, entry text, event text,
            identity text, storage_key text, sha256 text, format text, width integer, height integer, bytes bigint,
            correlation text, causation text, traceparent text)
    ), locked as ( -- in the order in which everybody locks tasks
        select t.id from tasks t join r on t.id = r.task and t.lease_token = r.token
        where t.state = 'running' order by t.id for update of t
    ), held as (
        update tasks t set state = 'done', ended_at = now(), lease_until = null from locked l where t.id = l.id
        returning t.id
    ), ended as (
        update generations g set status = 'succeeded', ended_at = now(), charged = g.price
        from r join held h on h.id = r.task
        where (g.organization_id, g.id) = (r.organization, r.generation)
            and (g.status in ('scheduled', 'queued', 'running')) is true
        returning g.organization_id, g.id, g.hold_id, g.price
    ), made as (
        select r.*, e.hold_id, e.price from r join ended e on (e.organization_id, e.id) = (r.organization, r.generation)
    ), stored as (
        insert into assets (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height, bytes)
        select m.organization, m.asset, m.generation, m.identity, m.storage_key, m.sha256, m.format, m.width, m.height, m.bytes
        from made m
    ), settled as (
        insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id)
        select m.organization, m.entry, 'settle', 'held', 'spent', m.price, m.hold_id, m.generation from made m
    ), said as (
        insert into events (organization_id, id, type, version, subject, correlation_id, causation_id, traceparent, data)
        select m.organization, m.event, 'generation.succeeded', 1, m.generation, m.correlation, m.causation, m.traceparent,
            jsonb_build_object('asset', m.asset, 'credits', m.price, 'reused', false)
        from made m
    ), pending as (
        insert into pending_events (event_id, organization_id, type)
        select m.event, m.organization, 'generation.succeeded' from made m
    )
    select h.id, coalesce(m.price, 0) from held h left join made m on m.task = h.id
$$;
grant execute on function record_images to atelier_system;

-- `record_images`, and then what endpoints are to be told of the images is dispatched at once, without the relay: p_reaction
-- is its row of the relay's table (see expand_batch). Answers the record first, then the tasks that are dispatched, in
-- `told`. Those of endpoints that struggle wait for the relay, which knows their lane, and so do all when p_room of the
-- queue's tasks are on their way already: then their order is the relay's to decide. It finds the others written.
create or replace function record_and_tell_images(p_results jsonb, p_reaction jsonb, p_room integer)
returns table (task bigint, settled integer, told bigint)
language plpgsql as $$
declare
    organizations text[];
    events text[];
    written bigint[];
begin
    return query select r.task, r.settled, null::bigint from record_images(p_results) r;
    select array_agg(r.organization), array_agg(r.event) into organizations, events
    from jsonb_to_recordset(p_results) as r (organization text, event text);
    perform expand_batch(organizations, events, jsonb_build_array(p_reaction));
    if p_room <= (select count(*) from tasks t where t.state = 'dispatched' and t.queue = p_reaction ->> 'queue') then
        return;
    end if;
    select array_agg(t.id) into written from tasks t
    where t.event_id = any (events) and t.actor = p_reaction ->> 'actor' and (t.state = 'ready') is true;
    return query
    update tasks t set state = 'dispatched', dispatched_at = now()
    where t.id = any (array(select unnest(written) except select struggling_deliveries(written)))
    returning null::bigint, null::integer, t.id;
end
$$;
grant execute on function record_and_tell_images to atelier_system;
