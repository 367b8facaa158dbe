-- One image each of up to p_limit organizations drawn by lot: the first one that was made after a moment, which is part of
-- the id (p_from_id), or else the newest. As atelier_system.
create or replace function sample_assets(p_from_id text, p_limit integer)
returns table (organization_id text, id text, storage_key text, sha256 text, bytes bigint)
language sql as $$
    select o.organization_id, found.id, found.storage_key, found.sha256, found.bytes
    from (select x.organization_id from organizations x order by random() limit p_limit) o
    cross join lateral (
        (select a.id, a.storage_key, a.sha256, a.bytes from assets a
         where a.organization_id = o.organization_id and a.id >= p_from_id order by a.id limit 1)
        union all
        (select a.id, a.storage_key, a.sha256, a.bytes from assets a
         where a.organization_id = o.organization_id order by a.id desc limit 1)
        limit 1
    ) found
$$;
grant execute on function sample_assets to atelier_system;
