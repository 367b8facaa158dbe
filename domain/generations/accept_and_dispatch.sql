-- An accepted generation goes straight to a worker where nobody waits, without the way over the relay.

-- Writes the task of an accepted generation, dispatched already, and answers its number; null where the relay has to decide
-- whose turn it is: when p_room of the queue's tasks are on their way (`crowded`), when the organization has others that
-- wait, or as many open ones as its plan allows. p_reaction is the relay's row for it (see expand_batch), which then finds
-- the task written. Knows its organization from the setting and its generation from the event, so that nobody can name others.
-- An organization whose turn lies behind the queue's present one has had less than its share (dispatch_queue): its task goes
-- `ahead`, however many are on their way, and moves its turn. Nobody else's turn is moved: the present one is only read, and
-- who moved his own far past it would wait for ever beside the next one who comes.
-- It waits for nobody: while the relay has the organization's turn in its hands, the relay decides.
create or replace function dispatch_at_once(
    p_event text, p_reaction jsonb, p_room integer, out task bigint, out ahead boolean, out crowded boolean
)
language plpgsql security definer set search_path = public, pg_temp set enable_seqscan = off as $$
declare
    organization text := current_setting('app.organization');
    wanted_queue text := p_reaction ->> 'queue';
    wanted_priority smallint := p_reaction ->> 'priority';
    present double precision;
    own double precision;
    share record;
begin
    select coalesce(max(n.turn), 0) into present
    from queue_turns n where (n.organization_id, n.queue) = ('org_system', wanted_queue);
    select u.turn into own from queue_turns u where (u.organization_id, u.queue) = (organization, wanted_queue);
    ahead := coalesce(own < present, true);
    select count(*) >= p_room into crowded
    from (select from tasks t where t.state = 'dispatched' and t.queue = wanted_queue limit p_room) on_their_way;
    if crowded and not ahead or exists (
        select from tasks t
        where t.state = 'ready' and t.queue = wanted_queue and t.organization_id = organization
            and t.priority = wanted_priority and t.run_at <= now()
    ) then
        return;
    end if;
    select s.weight, s.images_at_once into share from organization_shares(array[organization]) s;
    if (
        select count(*) > share.images_at_once -- this one is among them
        from (
            select from generations g
            where g.organization_id = organization and g.status in ('queued', 'running')
            limit share.images_at_once + 1
        ) open
    ) then
        return;
    end if;
    if ahead and own is not null then
        perform from queue_turns u
        where (u.organization_id, u.queue) = (organization, wanted_queue) for update skip locked;
        if not found then
            return;
        end if;
    end if;
    insert into tasks (organization_id, event_id, actor, subject, queue, priority, state, dispatched_at)
    select e.organization_id, e.id, p_reaction ->> 'actor', e.subject, wanted_queue, wanted_priority, 'dispatched', now()
    from events e
    where (e.organization_id, e.id) = (organization, p_event) and e.type = 'generation.accepted'
        and p_reaction ->> 'actor' = 'generations.render'
    returning id into task;
    if ahead and task is not null then
        insert into queue_turns as u (organization_id, queue, turn)
        values (organization, wanted_queue, present + 1 / share.weight)
        on conflict on constraint pk_queue_turns do update set turn = greatest(u.turn, excluded.turn);
    end if;
end
$$;
alter function dispatch_at_once owner to atelier_system;
grant execute on function dispatch_at_once to atelier_app;

-- `accept_generation`, and then `dispatch_at_once`. For what is to be done now.
create or replace function accept_and_dispatch(
    p_organization text, p_scope text, p_key text, p_fingerprint bytea, p_answer bytea,
    p_id text, p_status text, p_engine text, p_template text, p_request jsonb, p_project text, p_metadata jsonb,
    p_run_at timestamptz, p_created_at timestamptz, p_price integer, p_hold_id text,
    p_event_id text, p_event_data jsonb, p_traceparent text, p_reaction jsonb, p_room integer,
    out outcome integer, out replay bytea, out task bigint, out ahead boolean, out crowded boolean
)
language plpgsql as $$
begin
    select a.outcome, a.replay into outcome, replay
    from accept_generation(p_organization, p_scope, p_key, p_fingerprint, p_answer, p_id, p_status, p_engine, p_template,
        p_request, p_project, p_metadata, p_run_at, p_created_at, p_price, p_hold_id, p_event_id, p_event_data, p_traceparent) a;
    if outcome = 0 then
        select d.task, d.ahead, d.crowded into task, ahead, crowded from dispatch_at_once(p_event_id, p_reaction, p_room) d;
    end if;
end
$$;
grant execute on function accept_and_dispatch to atelier_app;
