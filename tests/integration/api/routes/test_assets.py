"""Stored objects under signed addresses."""

import hashlib
from datetime import timedelta

import msgspec
import pytest

from runtime.settings import Secret
from tests.integration.conftest import serving

CONTENT = bytes(range(256)) * 2048
KEY = "o/org_x/picture.png"


@pytest.fixture
async def url(api):
    await api.resources.store.put(KEY, CONTENT, content_type="image/png")
    return api.resources.urls.sign(KEY)


async def fetch(api, url, method="GET", **headers):
    async with api.client.request(method, url, headers=headers) as answer:
        return answer, await answer.read()


async def test_a_signed_address_gives_the_bytes_with_the_headers_that_belong_to_them(api, url):
    answer, body = await fetch(api, url)
    assert (answer.status, body) == (200, CONTENT)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert answer.headers["cache-control"].startswith("private, max-age=3")
    assert answer.headers["cache-control"].endswith("immutable")
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_the_headers_alone_may_be_asked_for(api, url):
    answer, body = await fetch(api, url, "HEAD")
    assert (answer.status, body, answer.headers["content-length"]) == (200, b"", str(len(CONTENT)))


async def test_what_the_client_has_is_not_sent_again(api, url):
    answer, _ = await fetch(api, url)
    again, body = await fetch(api, url, **{"If-None-Match": answer.headers["etag"]})
    assert (again.status, body) == (304, b"")


async def test_one_range_is_served(api, url):
    size = len(CONTENT)
    for wanted, start, end in [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        ("bytes=524000-", 524000, size),
        ("bytes=-100", size - 100, size),
        ("bytes=0-99999999", 0, size),
        ("bytes=-99999999", 0, size),
    ]:
        answer, body = await fetch(api, url, Range=wanted)
        assert (answer.status, body) == (206, CONTENT[start:end]), wanted
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    answer, body = await fetch(api, url, "HEAD", Range="bytes=0-9")
    assert (answer.status, answer.headers["content-length"]) == (206, "10")


async def test_a_range_that_is_not_understood_or_of_another_content_gives_the_whole(api, url):
    for headers in [
        {"Range": "bytes=0-1,5-6"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=-"},
        {"Range": "bytes=0-9", "If-Range": '"other"'},
    ]:
        answer, body = await fetch(api, url, **headers)
        assert (answer.status, len(body)) == (200, len(CONTENT)), headers


async def test_a_range_outside_the_object_is_refused(api, url):
    for wanted in (f"bytes={len(CONTENT)}-", "bytes=9-3", "bytes=-0"):
        answer, body = await fetch(api, url, Range=wanted)
        assert (answer.status, msgspec.json.decode(body)["code"]) == (416, "range_not_satisfiable"), wanted
        assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


async def test_a_changed_or_old_address_is_refused(api, url):
    old = replace_ttl(api, timedelta(seconds=-1)).sign(KEY)
    for wrong, code in [
        (url.replace("picture", "another"), "link_invalid"),
        (url.replace("expires=", "expires=1"), "link_invalid"),
        (url.partition("?")[0], "link_invalid"),
        (url.replace("picture.png", ".png"), "link_invalid"),
        (old, "link_expired"),
    ]:
        answer, body = await fetch(api, wrong)
        assert (answer.status, msgspec.json.decode(body)["code"]) == (403, code), wrong


async def test_an_object_that_is_gone_is_not_found(api, url):
    await api.resources.store.delete(KEY)
    answer, body = await fetch(api, url)
    assert (answer.status, msgspec.json.decode(body)["code"]) == (404, "not_found")


def replace_ttl(api, ttl):
    return msgspec.structs.replace(api.resources.urls, ttl=ttl)


async def test_a_link_outlives_the_change_of_the_key_that_signed_it_for_as_long_as_that_key_is_kept(settings):
    old, new = settings.signing_keys, "the-key-that-came-after-it-and-is-long-enough"
    links = {}
    for keys in (old, f"{new},{old}", new):
        async with serving(msgspec.structs.replace(settings, signing_keys=Secret(keys))) as api:
            await api.resources.store.put(KEY, CONTENT, content_type="image/png")
            links[keys] = api.resources.urls.sign(KEY).removeprefix(api.url)
            statuses = [(await fetch(api, link))[0].status for link in links.values()]
        assert statuses == {old: [200], f"{new},{old}": [200, 200], new: [403, 200, 200]}[keys]
