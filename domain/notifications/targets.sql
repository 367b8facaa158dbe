-- Whether anybody is to be told of these events by mail: one task each, for organizations that gave an address; no task,
-- and so no work, for the others. As atelier_system, called by expand_batch.
create or replace function mail_targets(p_organizations text[], p_events text[])
returns table (organization_id text, event_id text, target text)
language sql stable rows 20 as $$
    select taken.organization_id, taken.id, ''
    from unnest(p_organizations, p_events) as taken (organization_id, id)
    join organizations o on o.organization_id = taken.organization_id
    where o.notify_email is not null
$$;
grant execute on function mail_targets to atelier_system;
