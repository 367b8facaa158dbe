"""A customer gives an id, or its beginning: whose it is, and what became of it."""

from tests.http_server import serve
from tests.integration.api.operator.conftest import words


async def test_what_begins_so_is_found_over_all_organizations_newest_first(operator, make_organization):
    other = await make_organization(name="Globex")
    first, second = await operator.post(), await operator.post(**other.headers)
    found = (await operator.call("GET", f"/operator/search?id={first[:6]}"))["data"]
    assert [(each["id"], each["organization_name"]) for each in found] == [(second, "Globex"), (first, "Acme")]
    assert [each["trail"] for each in found] == [f"/trail/{second}", f"/trail/{first}"]
    page = await operator.page(f"/trail?generation={first[:6]}")
    assert f'href="/trail/{first}"' in page
    assert "Globex" in words(page)


async def test_the_only_one_that_begins_so_is_shown_at_once(operator):
    generation_id = await operator.post()
    for wanted in (generation_id, generation_id[:-2], f" {generation_id} "):
        answer, _ = await operator.ask(f"/trail?generation={wanted}", redirect=False, **operator.bearer)
        assert (answer.status, answer.headers.get("location")) == (303, f"/trail/{generation_id}")
    for unknown in ("gen_zzzz", "moon_1", "%25", ""):
        answer, _ = await operator.ask(f"/trail?generation={unknown}", redirect=False, **operator.bearer)
        assert answer.status == 404


async def test_a_delivery_leads_to_the_generation_that_it_tells_of(operator):
    async with serve() as server:
        await operator.endpoint(f"{server.url}/hook")
        generation_id = await operator.post()
        await operator.spine.drain()
    delivery_id = await operator.spine.value("select id from deliveries order by id limit 1")
    (found,) = (await operator.call("GET", f"/operator/search?id={delivery_id}"))["data"]
    assert (found["status"], found["trail"]) == ("delivered", f"/trail/{generation_id}")


async def test_other_things_are_not_looked_for(operator):
    assert (await operator.call("GET", "/operator/search?id=key_1", status=422))["code"] == "parameter_invalid"


async def test_no_growing_table_is_read_from_end_to_end(operator):
    await operator.fill(3_000)
    with operator.statements() as seen:
        await operator.call("GET", "/operator/search?id=gen_0")
        await operator.call("GET", "/operator/search?id=dlv_0")
    assert await operator.scans(seen) == []
