-- A prefixed id as `runtime.ids.new` makes it: UUIDv7 (RFC 9562) in lower-case Crockford base32 (TypeID 0.3).
create or replace function new_id(p_prefix text) returns text
language sql volatile parallel safe as $$
    with raw as (
        select decode(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0'), 'hex')
            || substr(uuid_send(gen_random_uuid()), 7) as bytes
    ), versioned as (
        select set_byte(bytes, 6, (get_byte(bytes, 6) & 15) | 112) as bytes from raw
    ), bits as (
        select b'00' || ('x' || encode(bytes, 'hex'))::bit(128) as bits from versioned
    )
    select p_prefix || '_' || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz', substring(bits from i * 5 + 1 for 5)::bit(5)::integer + 1, 1), '' order by i)
    from bits, generate_series(0, 25) as i
$$;
grant execute on function new_id to atelier_app, atelier_system;
