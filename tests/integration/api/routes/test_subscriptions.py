"""Plans and usage over real HTTP."""


async def asked(api, path, organization):
    async with api.client.get(path, headers=organization.headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_usage_tells_held_credits_from_those_that_are_left(api, organization):
    badge = {"template": "badge", "input": {"label": "A+"}}
    async with api.client.post("/v1/generations", json=badge, headers=organization.headers) as answer:
        assert answer.status == 202
    usage = await asked(api, "/v1/usage", organization)
    assert usage["credits"] == {"available": 99, "held": 1, "spent": 0, "granted": 100}
    assert (usage["plan"]["id"], usage["plan"]["reuse_is_free"]) == ("free", True)


async def test_plans_are_listed_cheapest_first(api, organization):
    plans = (await asked(api, "/v1/plans", organization))["data"]
    assert [plan["id"] for plan in plans] == ["free", "pro", "scale"]
    assert plans[1]["price"] == {"amount": 2900, "currency": "USD"}
