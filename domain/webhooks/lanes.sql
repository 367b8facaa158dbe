-- Deliveries to endpoints that fail or are slow travel in a lane of their own, where they keep nobody waiting but each
-- other. As atelier_system.

-- Of these tasks those whose endpoint is failing or slow now. (A replay names its delivery, the others their endpoint.)
create or replace function struggling_deliveries(p_tasks bigint[]) returns setof bigint
language sql stable as $$
    select t.id
    from tasks t
    left join deliveries d on t.target = '' and (d.organization_id, d.id) = (t.organization_id, t.subject)
    join webhook_endpoints w on (w.organization_id, w.id) = (t.organization_id, coalesce(d.endpoint_id, t.target))
    where t.id = any (p_tasks) and (w.failing_since is not null or w.slow_since is not null)
$$;
grant execute on function struggling_deliveries to atelier_system;

-- Noted while an attempt is still going on, long before it will time out.
create or replace function mark_endpoint_slow(p_organization text, p_endpoint text) returns void
language sql as $$
    update webhook_endpoints w set slow_since = now()
    where (w.organization_id, w.id) = (p_organization, p_endpoint) and w.slow_since is null
$$;
grant execute on function mark_endpoint_slow to atelier_system;
