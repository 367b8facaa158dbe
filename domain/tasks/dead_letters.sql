-- What a scrape wants to know of the dead letters, looking at no more than p_cap of them. As atelier_system.
create or replace function sample_dead_letters(p_cap integer) returns table (actor text, dead bigint, oldest_seconds double precision)
language sql stable as $$
    select d.actor, count(*), extract(epoch from now() - min(d.ended_at))
    from (select t.actor, t.ended_at from tasks t where t.state = 'dead' limit p_cap) d
    group by d.actor
$$;
grant execute on function sample_dead_letters to atelier_system;
