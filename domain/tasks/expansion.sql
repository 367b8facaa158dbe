-- Events become tasks. Called by the leading relay alone, as atelier_system.

-- One task per event, reaction and target. Reactions come from the relay's code (workers/reactions.py), as rows of
-- {event, actor, queue, priority, of, targets, scheduled}:
--   of         only for task.died: the actor whose death is spoken of
--   targets    a function (organizations text[], events text[]) -> (organization_id, event_id, target)
--   scheduled  the task waits for the event's `run_at` (product time)
create or replace function expand_batch(p_organizations text[], p_events text[], p_reactions jsonb) returns void
language plpgsql as $$
declare
    ahead interval := make_interval(secs => coalesce((select c.offset_seconds from product_clock c), 0));
    organizations text[];
    ids text[];
    types text[];
    subjects text[];
    actors text[];
    due text[];
    reaction record;
    meant_organizations text[];
    meant_ids text[];
    named record;
begin
    select array_agg(e.organization_id), array_agg(e.id), array_agg(e.type), array_agg(e.subject),
        array_agg(e.data ->> 'actor'), array_agg(e.data ->> 'run_at')
    into organizations, ids, types, subjects, actors, due
    from unnest(p_organizations, p_events) as taken (organization_id, id)
    cross join lateral (
        select e.* from events e where e.organization_id = taken.organization_id and e.id >= taken.id order by e.id limit 1
    ) e
    where e.id = taken.id;

    for reaction in
        select r.actor, r.queue, r.priority, r.of, r.targets, r.scheduled, array_agg(listed.reaction ->> 'event') as events
        from jsonb_array_elements(p_reactions) with ordinality as listed (reaction, place)
        cross join lateral jsonb_to_record(listed.reaction)
            as r (actor text, queue text, priority smallint, of text, targets text, scheduled boolean)
        where listed.reaction ->> 'event' = any (types)
        group by r.actor, r.queue, r.priority, r.of, r.targets, r.scheduled
        order by min(listed.place) -- tasks are shown in the order of their numbers
    loop
        if reaction.targets is null then
            insert into tasks (organization_id, event_id, actor, subject, queue, priority, run_at)
            select e.organization_id, e.id, reaction.actor, e.subject, reaction.queue, reaction.priority,
                case when reaction.scheduled then greatest(now(), e.due::timestamptz - ahead) else now() end
            from unnest(organizations, ids, types, subjects, actors, due) as e (organization_id, id, type, subject, actor, due)
            where e.type = any (reaction.events) and (reaction.of is null or reaction.of = e.actor)
            on conflict do nothing;
            continue;
        end if;
        select array_agg(organizations[n]), array_agg(ids[n]) into meant_organizations, meant_ids
        from generate_subscripts(types, 1) n where types[n] = any (reaction.events);
        case reaction.targets -- those that nearly every event asks are written out, so that their plans are kept
        when 'webhook_targets' then
            select array_agg(x.organization_id) as organizations, array_agg(x.event_id) as ids, array_agg(x.target) as targets
            into named from webhook_targets(meant_organizations, meant_ids) x;
        when 'mail_targets' then
            select array_agg(x.organization_id) as organizations, array_agg(x.event_id) as ids, array_agg(x.target) as targets
            into named from mail_targets(meant_organizations, meant_ids) x;
        else
            execute format(
                'select array_agg(x.organization_id) as organizations, array_agg(x.event_id) as ids, array_agg(x.target) as targets
                 from %I($1, $2) as x', reaction.targets)
            into named using meant_organizations, meant_ids;
        end case;
        continue when named.ids is null;
        insert into tasks (organization_id, event_id, actor, target, subject, queue, priority)
        select e.organization_id, e.id, reaction.actor, x.target, e.subject, reaction.queue, reaction.priority
        from unnest(named.organizations, named.ids, named.targets) as x (organization_id, event_id, target)
        cross join lateral (
            select e.* from events e where e.organization_id = x.organization_id and e.id >= x.event_id order by e.id limit 1
        ) e
        where e.id = x.event_id
        on conflict do nothing;
    end loop;
end
$$;
grant execute on function expand_batch to atelier_system;

-- Takes up to p_limit pending events of the types that this relay's code knows, gives them their place in the feed
-- and writes their tasks. An event that cannot be expanded is set aside; the log goes on. What may pass by itself (a
-- deadlock, a full disk, a lock, a shutdown) is raised, so that all of them stay pending.
create or replace function expand_events(p_types text[], p_reactions jsonb, p_limit integer, out expanded integer, out set_aside integer)
language plpgsql as $$
declare
    organizations text[];
    ids text[];
begin
    expanded := 0;
    set_aside := 0;
    with gone as (
        delete from pending_events p
        where p.event_id = any (array(
            select c.event_id from pending_events c where c.type = any (p_types)
            order by c.event_id limit p_limit for update skip locked
        ))
        returning p.organization_id, p.event_id
    )
    select array_agg(g.organization_id order by g.event_id), array_agg(g.event_id order by g.event_id)
    into organizations, ids from gone g;
    if ids is null then
        return;
    end if;

    -- A position that a reader may have seen must never be handed out again, so this commit is flushed.
    perform set_config('synchronous_commit', 'on', true);
    insert into feed (position, organization_id, event_id, type, subject)
    select nextval('feed_position'), e.organization_id, e.id, e.type, e.subject
    from (
        select e.organization_id, e.id, e.type, e.subject
        from unnest(organizations, ids) as taken (organization_id, id)
        cross join lateral (
            select e.* from events e where e.organization_id = taken.organization_id and e.id >= taken.id order by e.id limit 1
        ) e
        where e.id = taken.id
        order by e.id
    ) e;

    expanded := cardinality(ids);
    begin
        perform expand_batch(organizations, ids, p_reactions);
    exception
    when transaction_rollback or insufficient_resources or object_not_in_prerequisite_state or operator_intervention
        or system_error then -- each names a whole class
        raise;
    when others then
        for i in 1 .. cardinality(ids) loop
            begin
                perform expand_batch(array[organizations[i]], array[ids[i]], p_reactions);
            exception
            when transaction_rollback or insufficient_resources or object_not_in_prerequisite_state
                or operator_intervention or system_error then
                raise;
            when others then
                insert into set_aside_events (event_id, organization_id, type, error)
                select e.id, e.organization_id, e.type, sqlerrm from events e
                where (e.organization_id, e.id) = (organizations[i], ids[i])
                on conflict do nothing;
                set_aside := set_aside + 1;
            end;
        end loop;
    end;
end
$$;
grant execute on function expand_events to atelier_system;
