-- What the plans of these organizations give them of the workers; org_system has none and needs no bound. As
-- atelier_system, called by dispatch_queue.
create or replace function organization_shares(p_organizations text[])
returns table (organization_id text, weight double precision, images_at_once integer, images_queued integer)
language sql stable as $$
    select wanted.organization_id, coalesce(p.weight, 1), p.images_at_once, p.images_queued
    from unnest(p_organizations) as wanted (organization_id)
    left join lateral (
        select o.plan from organizations o where o.organization_id = wanted.organization_id limit 1
    ) subscribed on true
    left join plans p on p.id = subscribed.plan
$$;
grant execute on function organization_shares to atelier_system;
