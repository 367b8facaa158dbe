-- The one look-up that does not know its organization yet: a key's digest to who is calling. Owned by
-- atelier_system, whose policy lets it see every row; atelier_app may only execute it.
create or replace function authenticate_key(p_digest bytea)
returns table (key_id text, organization_id text, environment text, scopes text[], plan text, reuse_is_free boolean, expires_at timestamptz)
language sql security definer set search_path = public, pg_temp stable as $$
    select k.id, k.organization_id, k.environment, k.scopes, p.id, p.reuse_is_free, k.expires_at
    from api_keys k
    join organizations o on o.organization_id = k.organization_id
    join plans p on p.id = o.plan
    where k.digest = p_digest and k.revoked_at is null
$$;
alter function authenticate_key owner to atelier_system;
grant execute on function authenticate_key to atelier_app, atelier_system;

-- `last used` to the minute, from the API's background, for many keys at once.
create or replace function touch_keys(p_organizations text[], p_keys text[], p_used_at timestamptz) returns void
language sql security definer set search_path = public, pg_temp as $$
    update api_keys k set last_used_at = p_used_at
    from unnest(p_organizations, p_keys) as used (organization_id, id)
    where (k.organization_id, k.id) = (used.organization_id, used.id)
        and (k.last_used_at is null or k.last_used_at < p_used_at - interval '1 minute')
$$;
alter function touch_keys owner to atelier_system;
grant execute on function touch_keys to atelier_app;
