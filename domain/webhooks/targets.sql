-- The endpoints that want to hear of these events. Each gets its delivery here, in the transaction that writes its
-- task; the body is built by the first try. As atelier_system, called by expand_batch.
create or replace function webhook_targets(p_organizations text[], p_events text[])
returns table (organization_id text, event_id text, target text)
language sql rows 20 as $$
    insert into deliveries (organization_id, id, event_id, event_type, endpoint_id)
    select w.organization_id, new_id('dlv'), e.id, e.type, w.id
    from unnest(p_organizations, p_events) as taken (organization_id, id)
    cross join lateral (
        select e.* from events e where e.organization_id = taken.organization_id and e.id >= taken.id order by e.id limit 1
    ) e
    join webhook_endpoints w on w.organization_id = taken.organization_id
    where e.id = taken.id and w.status = 'enabled'
        and case when e.type = 'webhook_endpoint.tested' then w.id = e.subject
                 else cardinality(w.event_types) = 0 or e.type = any (w.event_types) end
    on conflict do nothing
    returning deliveries.organization_id, deliveries.event_id, deliveries.endpoint_id
$$;
grant execute on function webhook_targets to atelier_system;
