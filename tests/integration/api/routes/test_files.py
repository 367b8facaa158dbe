"""Files over real HTTP, up to a card that is drawn with one."""

import asyncio
import hashlib
import io

import aiohttp
import pytest
from PIL import Image

from domain.files.inspection import LARGEST_FILE
from tests import pictures

PATH = "/v1/files"
PNG = {"content-type": "image/png"}


async def upload(api, organization, body=None, *, path=PATH, **headers):
    data = pictures.plain() if body is None else body
    kind = {} if isinstance(data, aiohttp.FormData) else PNG
    data = io.BytesIO(data) if isinstance(data, bytes) else data
    async with api.client.post(path, data=data, headers=organization.headers | kind | headers) as answer:
        return answer, await answer.json()


def form(data: bytes, name: str = "me.png", part: str = "file") -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field(part, data, filename=name, content_type="application/x-whatever")
    return made


async def test_a_form_and_a_body_are_the_same_to_us(api, organization):
    answer, by_form = await upload(api, organization, form(pictures.plain()))
    assert answer.status == 201, by_form
    answer, by_body = await upload(api, organization, path=f"{PATH}?name=me.png")
    assert answer.status == 201, by_body
    different = {"id", "created_at", "url"}
    assert {key: by_form[key] for key in by_form.keys() - different} == {
        key: by_body[key] for key in by_body.keys() - different
    }
    assert (by_form["name"], by_form["content_type"], by_form["width"]) == ("me.png", "image/png", 40)
    assert by_form["id"] != by_body["id"]


async def test_what_is_kept_is_served_upright_and_clean_under_its_url(api, organization):
    _, made = await upload(api, organization, pictures.with_metadata())
    async with api.client.get(made["url"]) as answer:
        body = await answer.read()
        assert (answer.status, answer.content_type) == (200, "image/jpeg")
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert hashlib.sha256(body).hexdigest() == made["sha256"]
    assert b"secret" not in body
    assert Image.open(io.BytesIO(body)).size == (20, 40) == (made["width"], made["height"])


async def test_a_file_is_shown_listed_and_deleted(api, organization):
    first, second = [(await upload(api, organization))[1]["id"] for _ in range(2)]
    async with api.client.get(f"{PATH}?limit=1", headers=organization.headers) as answer:
        page = await answer.json()
    assert [file["id"] for file in page["data"]] == [second]
    query = {"limit": 1, "cursor": page["next_cursor"]}
    async with api.client.get(PATH, params=query, headers=organization.headers) as answer:
        assert [file["id"] for file in (await answer.json())["data"]] == [first]
    async with api.client.delete(f"{PATH}/{first}", headers=organization.headers) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
    for method in ("GET", "DELETE"):
        async with api.client.request(method, f"{PATH}/{first}", headers=organization.headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "file_not_found")
    async with api.client.get(f"{PATH}/{second}", headers=organization.headers) as answer:
        assert (await answer.json())["id"] == second


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "picture_unreadable"),
        (b"<svg/>", 422, "picture_unreadable"),
        (pictures.bomb(9500), 422, "picture_too_large"),
        (bytes(LARGEST_FILE + 1), 413, "file_too_large"),
        (bytes(LARGEST_FILE + 100_000), 413, "too_large"),
        (form(b"x", part="picture"), 422, "body_invalid"),
    ],
    ids=["nothing", "svg", "bomb", "a byte too many", "much too many", "another part"],
)
async def test_what_does_not_fit_is_refused(body, status, code, api, organization):
    answer, problem = await upload(api, organization, body)
    assert (answer.status, problem["code"]) == (status, code)
    assert answer.content_type == "application/problem+json"


async def test_other_media_types_are_not_taken(api, organization):
    async with api.client.post(PATH, json={"file": "x"}, headers=organization.headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (415, "media_type_unsupported")


async def test_under_one_key_a_picture_is_one_file_however_its_form_is_written(api, organization):
    _, first = await upload(api, organization, form(pictures.plain()), **{"idempotency-key": "k"})
    answer, again = await upload(api, organization, form(pictures.plain()), **{"idempotency-key": "k"})
    assert (answer.status, answer.headers["idempotent-replayed"], again) == (201, "true", first)
    answer, problem = await upload(api, organization, form(pictures.plain("JPEG")), **{"idempotency-key": "k"})
    assert (answer.status, problem["code"]) == (422, "idempotency_key_reused")
    async with api.client.get(PATH, headers=organization.headers) as answer:
        assert len((await answer.json())["data"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("POST", PATH, "files:write"), ("GET", PATH, "files:read"), ("DELETE", f"{PATH}/file_x", "files:write")],
)
async def test_each_operation_asks_for_its_scope(method, path, scope, api, make_organization):
    other = {"files:write": "files:read", "files:read": "files:write"}[scope]
    narrow = await make_organization(wanted=(other,))
    async with api.client.request(method, path, headers=narrow.headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (403, "scope_missing")


async def test_hostile_pictures_hold_up_nobody_else(api, organization):
    """The decoder works in another process: the API answers while it is busy."""
    slow = asyncio.create_task(upload(api, organization, pictures.plain(size=(4000, 2000))))
    answered = 0
    while not slow.done():
        async with api.client.get("/health/live") as answer:
            assert answer.status == 200
        answered += 1
        await asyncio.sleep(0.01)
    assert (await slow)[0].status == 201
    assert answered > 5
