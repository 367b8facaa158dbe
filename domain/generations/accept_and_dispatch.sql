-- An accepted generation goes straight to a worker where nobody waits, without the way over the relay.

-- Writes the task of the event, dispatched already, and answers its number; null where the relay has to decide whose
-- turn it is: when p_room of the queue's tasks are on their way, when the organization has others that wait, or as many
-- open ones as its plan allows. p_reaction is the relay's row for it (see expand_batch), which then finds the task
-- written. Knows its organization from the setting, so that nobody can name another.
-- An organization whose turn lies behind the queue's present one has had less than its share (dispatch_queue): its task goes
-- `ahead`, however many are on their way, and moves its turn. The row of the present turn is only read.
create or replace function dispatch_at_once(
    p_event text, p_subject text, p_reaction jsonb, p_room integer, out task bigint, out ahead boolean
)
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    organization text := current_setting('app.organization');
    on_their_way bigint;
    own bigint;
    present double precision;
    share record;
begin
    select count(*) filter (where t.state = 'dispatched'), count(*) filter (where t.organization_id = organization)
    into on_their_way, own
    from tasks t where t.state in ('dispatched', 'running') and t.queue = p_reaction ->> 'queue';
    select coalesce(max(n.turn), 0) into present
    from queue_turns n where (n.organization_id, n.queue) = ('org_system', p_reaction ->> 'queue');
    ahead := coalesce((
        select u.turn from queue_turns u where (u.organization_id, u.queue) = (organization, p_reaction ->> 'queue')
    ) < present, true);
    select s.weight, s.images_at_once into share from organization_shares(array[organization]) s;
    if (on_their_way < p_room or ahead)
        and own < coalesce(share.images_at_once, own + 1)
        and not exists (
            select from tasks t
            where t.state = 'ready' and t.queue = p_reaction ->> 'queue' and t.organization_id = organization
                and t.priority = (p_reaction ->> 'priority')::smallint and t.run_at <= now()
        )
    then
        insert into tasks (organization_id, event_id, actor, subject, queue, priority, state, dispatched_at)
        values (organization, p_event, p_reaction ->> 'actor', p_subject, p_reaction ->> 'queue',
            (p_reaction ->> 'priority')::smallint, 'dispatched', now())
        returning id into task;
        if ahead then
            insert into queue_turns as u (organization_id, queue, turn)
            values (organization, p_reaction ->> 'queue', present + 1 / share.weight)
            on conflict on constraint pk_queue_turns do update set turn = greatest(u.turn, excluded.turn);
        end if;
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
    out outcome integer, out replay bytea, out task bigint, out ahead boolean
)
language plpgsql as $$
begin
    select a.outcome, a.replay into outcome, replay
    from accept_generation(p_organization, p_scope, p_key, p_fingerprint, p_answer, p_id, p_status, p_engine, p_template,
        p_request, p_project, p_metadata, p_run_at, p_created_at, p_price, p_hold_id, p_event_id, p_event_data, p_traceparent) a;
    if outcome = 0 then
        select d.task, d.ahead into task, ahead from dispatch_at_once(p_event_id, p_id, p_reaction, p_room) d;
    end if;
end
$$;
grant execute on function accept_and_dispatch to atelier_app;
