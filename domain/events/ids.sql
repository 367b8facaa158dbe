-- A prefixed id as `runtime.ids.new` makes it: UUIDv7 (RFC 9562) in lower-case Crockford base32 (TypeID 0.3).
create or replace function new_id(p_prefix text) returns text
language plpgsql volatile parallel safe as $$
declare
    -- Of a random UUID (version 4) all that lies behind its version: 12 random bits, the variant, 62 random bits.
    hex constant text := lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
        || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14);
    bits constant bit(130) := b'00' || ('x' || hex)::bit(128);
    id text := p_prefix || '_';
begin
    for place in 0..25 loop -- plain expressions: an aggregate over them would cost three times as much
        id := id
            || substr('0123456789abcdefghjkmnpqrstvwxyz', substring(bits from place * 5 + 1 for 5)::bit(5)::integer + 1, 1);
    end loop;
    return id;
end
$$;
grant execute on function new_id to atelier_app, atelier_system;
