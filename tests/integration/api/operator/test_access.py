"""Who gets in, and what a browser may keep and do."""

import re
from http.cookies import SimpleCookie

import msgspec
import yarl

from runtime.settings import Secret
from tests.integration.api.operator.conftest import BROWSER, words
from tests.integration.conftest import serving


async def test_without_the_token_nothing_is_shown(operator):
    for path in ("/", "/trail", "/trail/gen_1", "/trail/gen_1.json"):
        answer, page = await operator.ask(path)
        assert (answer.status, answer.content_type) == (401, "text/html")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "The operator’s token, please" in words(page)
        answer, body = await operator.ask(path, accept="application/json")
        assert (answer.status, answer.content_type) == (401, "application/problem+json")
        assert "api_key_missing" in body


async def test_every_answer_has_an_id_that_its_problem_names(operator):
    for path, status in (("/operator/dead-letters", 401), ("/trail/gen_1.json", 401), ("/nothing-like-this", 404)):
        answer, body = await operator.ask(path, accept="application/json")
        assert (answer.status, answer.content_type) == (status, "application/problem+json"), body
        assert msgspec.json.decode(body)["request_id"] == answer.headers["x-request-id"] != ""
    named, _ = await operator.ask("/metrics", **{"x-request-id": "mine-1"})
    assert named.headers["x-request-id"] == "mine-1"


async def test_a_wrong_token_is_refused(operator):
    for wrong in ("x", operator.token[:-1], f"{operator.token}2", "é"):
        for path, headers in ((f"/?token={wrong}", {}), ("/", {"authorization": f"Bearer {wrong}"})):
            answer, page = await operator.ask(path, redirect=False, **headers)
            assert answer.status == 401
            assert "This is not the operator’s token." in words(page)
            assert "set-cookie" not in answer.headers


async def test_the_token_in_an_address_becomes_a_cookie_and_leaves_the_address(operator):
    answer, _ = await operator.ask(f"/trail?generation=gen_1&token={operator.token}", redirect=False)
    assert (answer.status, answer.headers["location"]) == (303, "/trail?generation=gen_1")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    [cookie] = SimpleCookie(answer.headers["set-cookie"]).values()
    assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (True, "strict", "/")
    assert (cookie["max-age"], cookie["expires"], cookie["domain"]) == ("", "", "")
    assert operator.token not in answer.headers["set-cookie"]
    answer, page = await operator.ask("/", cookie=f"{cookie.key}={cookie.value}")
    assert answer.status == 200
    assert operator.token not in page
    answer, _ = await operator.ask("/", authorization=f"Bearer {cookie.value}")
    assert answer.status == 401, "the cookie is not the token"


async def test_the_token_is_sent_to_no_other_place(operator):
    for path in ("//elsewhere.example", "///", "/trail///elsewhere.example", "/trail/%2f%2felsewhere.example"):
        url = yarl.URL(operator.api.operator_url + path, encoded=True)
        headers = {"accept": BROWSER}
        async with operator.api.client.get(url, headers=headers, allow_redirects=False) as refused:
            assert not re.search(r'action="(//|http)', await refused.text())
        url = yarl.URL(f"{url}?token={operator.token}", encoded=True)
        async with operator.api.client.get(url, headers=headers, allow_redirects=False) as sent:
            assert not sent.headers.get("location", "/").startswith(("//", "http"))


async def test_the_cookie_of_another_installation_opens_nothing(operator, settings):
    answer, _ = await operator.ask(f"/?token={operator.token}", redirect=False)
    other = msgspec.structs.replace(settings, operator_token=Secret("the-token-of-another-installation"))
    async with serving(other) as elsewhere:
        [ours] = SimpleCookie(answer.headers["set-cookie"]).values()
        url = f"{elsewhere.operator_url}/?token={other.operator_token}"
        async with elsewhere.client.get(url, allow_redirects=False) as answer:
            [theirs] = SimpleCookie(answer.headers["set-cookie"]).values()
        assert ours.key != theirs.key, "both may lie in one browser: it tells hosts apart, not ports"
        for cookie in (f"{ours.key}={ours.value}", f"{theirs.key}={ours.value}"):
            headers = {"cookie": cookie, "accept": BROWSER}
            async with elsewhere.client.get(f"{elsewhere.operator_url}/", headers=headers) as refused:
                assert refused.status == 401


async def test_where_no_token_is_set_nobody_gets_in(operator, settings):
    async with serving(msgspec.structs.replace(settings, operator_token=Secret(""))) as closed:
        for headers in ({}, {"authorization": "Bearer "}, {"cookie": "atelier_operator=x"}):
            async with closed.client.get(f"{closed.operator_url}/", headers=headers) as answer:
                assert answer.status == 401


async def test_pages_may_load_nothing_from_elsewhere_and_are_kept_nowhere(operator):
    for path, headers in (("/", operator.bearer), ("/", {}), ("/trail/gen_1", operator.bearer)):
        answer, _ = await operator.ask(path, **headers)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_what_shows_nothing_of_customers_needs_no_token(operator):
    _, page = await operator.ask("/")
    style = page.split('rel="stylesheet" href="')[1].split('"')[0]
    kinds = {style: "text/css", "/icon.svg": "image/svg+xml", "/metrics": "text/plain", "/health": "application/json"}
    for path, kind in kinds.items():
        answer, _ = await operator.ask(path)
        assert (answer.status, answer.content_type) == (200, kind)


async def test_the_token_is_written_into_no_log(operator, capfd):
    await operator.ask(f"/trail/gen_1?token={operator.token}")
    await operator.ask(f"/nowhere?token={operator.token}")
    await operator.ask("/", **operator.bearer)
    written = capfd.readouterr()
    assert operator.token not in written.out + written.err
