-- Those of an organization's objects that nothing refers to. As atelier_system.
create or replace function unreferenced_objects(p_organization text, p_keys text[]) returns setof text
language sql stable as $$
    select given.key from unnest(p_keys) as given (key)
    where not exists (
            select from assets a
            where hashtextextended(a.storage_key, 0) = hashtextextended(given.key, 0)
                and (a.organization_id, a.storage_key) = (p_organization, given.key)
        )
        and not exists (
            select from files f
            where hashtextextended(f.storage_key, 0) = hashtextextended(given.key, 0)
                and (f.organization_id, f.storage_key) = (p_organization, given.key)
        )
$$;
grant execute on function unreferenced_objects to atelier_system;
