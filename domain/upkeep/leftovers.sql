-- Those of an organization's objects that nothing refers to. As atelier_system. Each is looked up by itself: two joins would
-- read all that the organization has.
create or replace function unreferenced_objects(p_organization text, p_keys text[]) returns setof text
language sql stable as $$
    select given.key from unnest(p_keys) as given (key)
    where (
            select true from assets a
            where hashtextextended(a.storage_key, 0) = hashtextextended(given.key, 0)
                and a.storage_key = given.key and (a.organization_id = p_organization) is true
            limit 1
        ) is null
        and (
            select true from files f
            where hashtextextended(f.storage_key, 0) = hashtextextended(given.key, 0)
                and f.storage_key = given.key and (f.organization_id = p_organization) is true
            limit 1
        ) is null
$$;
grant execute on function unreferenced_objects to atelier_system;
