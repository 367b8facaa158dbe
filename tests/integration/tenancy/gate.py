"""Reads out of PostgreSQL's catalogues everything by which one customer could come to see another's rows."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg

from tests.integration.tenancy import written_down

OWN_ROWS = "((organization_id)::text = NULLIF(current_setting('app.organization'::text, true), ''::text))"
POLICIES = {("organization", "{atelier_app}", OWN_ROWS), ("system", "{atelier_system}", "true")}

_TABLES = """
    select c.oid::regclass::text as name, c.relkind::text as kind, c.relrowsecurity as enabled,
        c.relforcerowsecurity as forced, pg_get_userbyid(c.relowner) as owner,
        coalesce('security_invoker=true' = any (c.reloptions), false) as asks_as_caller,
        exists(select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organization_id') as tenant
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') order by 1
"""
_POLICIES = """
    select tablename, policyname, roles::text, permissive, cmd, qual, with_check
    from pg_policies where schemaname = 'public' order by 1, 2
"""
_RIGHTS = """
    select c.oid::regclass::text as name, lower(a.privilege_type) as verb, pg_get_userbyid(a.grantee) as role,
        a.grantee = 0 as everybody, c.relkind::text as kind
    from pg_class c cross join lateral aclexplode(c.relacl) a
    where c.relnamespace = 'public'::regnamespace and a.grantee <> c.relowner
    union all
    select c.oid::regclass::text, lower(a.privilege_type) || '(' || t.attname || ')', pg_get_userbyid(a.grantee),
        a.grantee = 0, c.relkind::text
    from pg_class c join pg_attribute t on t.attrelid = c.oid cross join lateral aclexplode(t.attacl) a
    where c.relnamespace = 'public'::regnamespace
"""
_FUNCTIONS = """
    select p.proname as name, p.prosecdef as definer, pg_get_userbyid(p.proowner) as owner,
        'search_path=public, pg_temp' = any (coalesce(p.proconfig, '{}')) as pinned,
        has_function_privilege('atelier_app', p.oid, 'execute') as app,
        has_function_privilege('atelier_system', p.oid, 'execute') as system, exists(
            select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0) as everybody
    from pg_proc p where p.pronamespace = 'public'::regnamespace order by 1
"""
_ROLES = """
    select r.rolname as name,
        r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication as mighty,
        array(select pg_get_userbyid(m.roleid)::text from pg_auth_members m where m.member = r.oid) as member_of,
        has_schema_privilege(r.oid, 'public', 'create') as creates
    from pg_roles r where r.rolname in ('atelier_owner', 'atelier_app', 'atelier_system') order by 1
"""


async def faults(connection: asyncpg.Connection) -> list[str]:
    """One line each; empty when everything is as it was decided."""
    found = [fault async for fault in _faults(connection)]
    return sorted(found)


async def _faults(connection: asyncpg.Connection) -> AsyncIterator[str]:
    relations = await connection.fetch(_TABLES)
    policies = await connection.fetch(_POLICIES)
    for relation in relations:
        for fault in _of_relation(relation, [row for row in policies if row["tablename"] == relation["name"]]):
            yield fault
    for fault in _of_rights(await connection.fetch(_RIGHTS)):
        yield fault
    for function in await connection.fetch(_FUNCTIONS):
        for fault in _of_function(function):
            yield fault
    for role in await connection.fetch(_ROLES):
        for fault in _of_role(role):
            yield fault


def _of_relation(relation: Mapping[str, Any], policies: list[Mapping[str, Any]]) -> list[str]:
    name, kind = relation["name"], relation["kind"]
    found = []
    if relation["owner"] in {"atelier_app", "atelier_system"}:
        found.append(f"{name} is owned by {relation['owner']}, which could switch its protection off")
    if kind == "v" and not relation["asks_as_caller"]:
        found.append(f"the view {name} reads as its owner (security_invoker is missing)")
    if kind in {"m", "f"}:
        found.append(f"{name} is a materialized view or foreign table, which no policy protects")
    if kind not in {"r", "p"}:
        return found
    if not relation["tenant"]:
        return found + ([] if name in written_down.INSTALLATION else [f"{name} belongs to no organization"])
    if not (relation["enabled"] and relation["forced"]):
        found.append(f"{name} has no forced row-level security")
    if {(row["policyname"], row["roles"], row["qual"]) for row in policies} != POLICIES or len(policies) != 2:
        found.append(f"{name} has other policies than organization and system")
    if any((row["permissive"], row["cmd"], row["with_check"]) != ("PERMISSIVE", "ALL", None) for row in policies):
        found.append(f"{name} has a policy for some commands only, or another one for writing")
    return found


def _of_rights(rows: list[Mapping[str, Any]]) -> list[str]:
    found = [f"everybody may {row['verb']} {row['name']}" for row in rows if row["everybody"]]
    for role, may in (("atelier_app", written_down.APP_MAY), ("atelier_system", written_down.SYSTEM_MAY)):
        wanted = {(table, verb) for table, verbs in may.items() for verb in verbs.split(", ")}
        wanted |= {(name, "usage") for name, holder in written_down.SEQUENCES.items() if holder == role}
        given = {(row["name"], row["verb"]) for row in rows if row["role"] == role}
        found += [f"{role} may {verb} {table}, which is not written down" for table, verb in given - wanted]
        found += [f"{role} may not {verb} {table}, although it is written down" for table, verb in wanted - given]
    known = {"atelier_app", "atelier_system"}
    return found + [
        f"{row['role']} may {row['verb']} {row['name']}"
        for row in rows
        if row["role"] not in known and not row["everybody"]
    ]


def _of_function(function: Mapping[str, Any]) -> list[str]:
    name = function["name"]
    found = []
    if function["everybody"]:
        found.append(f"everybody may call {name}")
    if function["definer"] != (name in written_down.WITH_POWERS_OF_THEIR_OWNER):
        found.append(f"{name} is SECURITY DEFINER and not written down, or the other way round")
    if function["definer"] and (function["owner"] != "atelier_system" or not function["pinned"]):
        found.append(
            f"{name} runs as {function['owner']}, not as atelier_system, or finds tables by the caller's search_path"
        )
    for role, calls in (("app", written_down.APP_CALLS), ("system", written_down.SYSTEM_CALLS)):
        if function[role] != (name in calls):
            found.append(f"whether atelier_{role} may call {name} is not as it is written down")
    return found


def _of_role(role: Mapping[str, Any]) -> list[str]:
    found = []
    if role["mighty"]:
        found.append(f"{role['name']} is a superuser, bypasses policies or makes roles or databases")
    allowed = {"atelier_owner": ["atelier_system"]}.get(role["name"], [])
    if role["member_of"] != allowed:
        found.append(f"{role['name']} may become {role['member_of']}")
    if role["creates"] != (role["name"] == "atelier_owner"):
        found.append(f"whether {role['name']} may make tables is not as it should be")
    return found
