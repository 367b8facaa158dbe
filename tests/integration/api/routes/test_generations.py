"""Generations over real HTTP."""


BADGE = {"template": "badge", "input": {"label": "A+"}}


async def test_a_request_is_accepted_and_found_again(api, organization):
    async with api.client.post("/v1/generations", json=BADGE, headers=organization.headers) as answer:
        accepted = await answer.json()
    assert answer.status == 202, accepted
    assert accepted["status"] == "queued"
    assert answer.headers["location"] == f"/v1/generations/{accepted['id']}"
    async with api.client.get(answer.headers["location"], headers=organization.headers) as again:
        assert await again.json() == accepted
