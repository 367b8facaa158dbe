-- What moved in the feed after a position, of every organization: ids only, so that one query of one connection wakes
-- every waiter of a process. As atelier_system.
create or replace function feed_after(p_position bigint, p_limit integer)
returns table (pos bigint, organization_id text, type text, subject text)
language sql stable as $$
    select f.position, f.organization_id, f.type, f.subject from feed f
    where f.position + 0 > p_position order by f.position + 0 limit p_limit
$$;
grant execute on function feed_after to atelier_system;
