"""How many statements a request takes, beside those that look its key up."""

import pytest

from tests.integration.conftest import Api, Organization
from tests.integration.statements import asked

BADGE = {"template": "badge", "input": {"label": "A1"}}
PATH = "/v1/generations"
OF_KEYS = ("authenticate_key", "touch_keys")


def of_request(texts: list[str]) -> list[str]:
    """Without what is asked of keys, once in a while."""
    return [text for text in texts if not any(name in text for name in OF_KEYS)]


async def send(api: Api, organization: Organization, method: str, path: str, body: object = None) -> str:
    """The answer's text."""
    asking = api.client.request(method, path, json=body, headers=organization.headers, raise_for_status=True)
    async with asking as answer:
        return await answer.text()


async def test_an_accept_takes_one_statement(api: Api, organization: Organization) -> None:
    async with asked(api.resources.database) as texts:
        await send(api, organization, "POST", PATH, BADGE)
    assert len(of_request(texts)) == 1


@pytest.mark.parametrize("path", [PATH, f"{PATH}?limit=5", "/v1/webhook-endpoints"])
async def test_a_list_takes_one_statement_and_one_that_names_its_organization(
    api: Api, organization: Organization, path: str
) -> None:
    await send(api, organization, "POST", PATH, BADGE)
    async with asked(api.resources.database) as texts:
        await send(api, organization, "GET", path)
    assert len(of_request(texts)) == 2


async def test_a_look_at_a_generation_takes_no_more(api: Api, organization: Organization) -> None:
    made = (await send(api, organization, "POST", PATH, BADGE)).split('"id":"')[1].split('"')[0]
    async with asked(api.resources.database) as texts:
        await send(api, organization, "GET", f"{PATH}/{made}")
    assert len(of_request(texts)) == 2
