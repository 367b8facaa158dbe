-- Who works under which number. A worker process draws a number and holds an advisory lock on it, on a connection of its
-- own, for as long as both live: a number that nobody holds belongs to a process that is gone. Numbers are never drawn
-- twice. As atelier_system.

create or replace function draw_owner_number() returns integer
language plpgsql as $$
declare
    number integer := nextval('owner_numbers');
begin
    perform pg_advisory_lock(4711, number);
    return number;
end
$$;
grant execute on function draw_owner_number to atelier_system;

-- Numbers under which tasks run and that nobody holds. A claim commits after its number was locked, so who sees the task
-- here sees the lock as well.
create or replace function lost_owners() returns setof integer
language sql stable as $$
    select t.owner_number from tasks t where t.state = 'running' and t.owner_number is not null
    except
    select l.objid::bigint::integer from pg_locks l
    where l.locktype = 'advisory' and l.classid = 4711 and l.objsubid = 2 and l.granted
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;
grant execute on function lost_owners to atelier_system;
