-- Those of an organization's objects that nothing refers to. As atelier_system. Each is looked up by itself: a join would
-- read all that the organization has.
create or replace function unreferenced_objects(p_organization text, p_keys text[]) returns setof text
language sql stable as $$
    select given.key from unnest(p_keys) as given (key)
    where (
        select true from (
            select a.organization_id, a.storage_key from assets a
            union all
            select f.organization_id, f.storage_key from files f
        ) kept
        where hashtextextended(kept.storage_key, 0) = hashtextextended(given.key, 0)
            and kept.storage_key = given.key and (kept.organization_id = p_organization) is true
        limit 1
    ) is null
$$;
grant execute on function unreferenced_objects to atelier_system;
