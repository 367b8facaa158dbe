"""Templates over real HTTP."""

import jsonschema_rs


async def asked(api, path, headers=None):
    async with api.client.get(path, headers=headers) as answer:
        return answer, await answer.json()


async def test_every_template_that_is_listed_can_be_made_with_its_example(api, organization):
    _, listed = await asked(api, "/v1/templates", organization.headers)
    assert {"badge", "prompt-card"} <= {found["name"] for found in listed["data"]}
    for found in listed["data"]:
        _, shown = await asked(api, f"/v1/templates/{found['name']}", organization.headers)
        assert found.items() <= shown.items()
        jsonschema_rs.validator_for(shown["input_schema"]).validate(shown["example"])


async def test_a_template_that_there_is_not(api, organization):
    for path in ("/v1/templates/nothing", "/v1/templates/..", "/v1/templates/nothing/preview.png"):
        answer, problem = await asked(api, path, organization.headers)
        assert answer.status == 404, problem
