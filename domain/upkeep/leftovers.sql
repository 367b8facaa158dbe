-- Those of an organization's objects that nothing refers to. As atelier_system.
create or replace function unreferenced_objects(p_organization text, p_keys text[]) returns setof text
language sql stable as $$
    select given.key from unnest(p_keys) as given (key)
    where not exists (select from assets a where a.storage_key = given.key and a.organization_id = p_organization)
        and not exists (select from files f where f.storage_key = given.key and f.organization_id = p_organization)
$$;
grant execute on function unreferenced_objects to atelier_system;
