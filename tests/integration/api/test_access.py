"""Who may reach what: every operation there is, with keys that lack the scope and keys of somebody else."""

import re

FOR_ANY_KEY = {"/v1/plans", "/v1/templates", "/v1/templates/{name}"}
PUBLIC = {"/v1/templates/{name}/preview.png"}
METHODS = ("get", "post", "put", "patch", "delete")
BADGE = {"template": "badge", "input": {"label": "A+"}}
HOOK = {"url": "https://hooks.example.com/in", "event_types": ["generation.succeeded"]}
UNKNOWN = {
    "generation_id": "gen_01jd3v6t2cf5a9x0kqzr8m4n7p",
    "endpoint_id": "we_01jd3v6t2cf5a9x0kqzr8m4n7p",
    "key_id": "key_01jd3v6t2cf5a9x0kqzr8m4n7p",
}


async def operations(api):
    """Method and path of everything that customers may ask for."""
    async with api.client.get("/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    return [
        (method, path)
        for path, item in paths.items()
        for method in METHODS
        if method in item and path.startswith("/v1/") and path not in PUBLIC
    ]


async def asked(api, organization, method, path):
    body = {"json": {}} if method in {"patch", "put"} else {}
    async with api.client.request(method, path, headers=organization.headers, **body) as answer:
        return answer.status, await answer.json()


async def test_every_operation_asks_for_its_scope(api, make_organization):
    weak = await make_organization(wanted=("usage:read",))
    found = await operations(api)
    assert len(found) > 20
    for method, path in found:
        if path in FOR_ANY_KEY or path == "/v1/usage":
            continue
        status, problem = await asked(api, weak, method, re.sub(r"{\w+}", "x", path))
        assert (status, problem.get("code")) == (403, "scope_missing"), (method, path)


async def test_what_belongs_to_somebody_else_is_not_there(api, organization, make_organization):
    """Its answer is the one for an id that nobody has, and nothing of it changes."""
    other = await make_organization()
    theirs = {
        "generation_id": (await created(api, other, "/v1/generations", BADGE))["id"],
        "endpoint_id": (await created(api, other, "/v1/webhook-endpoints", HOOK))["id"],
        "key_id": other.key_id,
    }
    tried = 0
    for method, path in await operations(api):
        name = next((name for name in theirs if f"{{{name}}}" in path), None)
        if name is None:
            continue
        before = await shown(api, other)
        answers = [
            await asked(api, organization, method, path.replace(f"{{{name}}}", id_))
            for id_ in (theirs[name], UNKNOWN[name])
        ]
        assert [status for status, _ in answers] == [404, 404], (method, path)
        one, unknown = ({**problem, "request_id": ""} for _, problem in answers)
        assert one == unknown
        assert await shown(api, other) == before
        tried += 1
    assert tried >= 9


async def created(api, organization, path, body):
    async with api.client.post(path, json=body, headers=organization.headers) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json()


async def shown(api, organization):
    lists = []
    for path in ("/v1/generations", "/v1/webhook-endpoints", "/v1/api-keys"):
        _, page = await asked(api, organization, "get", path)
        lists.append([{**item, "last_used_at": None} for item in page["data"]])
    return lists
