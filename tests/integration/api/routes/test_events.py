"""Server-sent events and waiting reads, with a relay behind them."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest
from aiohttp import ClientSession, TCPConnector
from sqlalchemy import text

from domain.events import feed
from tests.integration.conftest import serving

BADGE = {"template": "badge", "input": {"label": "A+"}}


class Stream:
    """The messages of one stream, one by one."""

    def __init__(self, answer):
        self._answer = answer

    async def next(self):
        block = (await self._answer.content.readuntil(b"\n\n")).decode().strip()
        fields = dict(line.split(": ", 1) for line in block.splitlines())  # a comment has no name
        return fields | ({"data": json.loads(fields["data"])} if "data" in fields else {})

    async def ended(self):
        return await asyncio.wait_for(self._answer.content.read(), 5) == b""


@contextlib.asynccontextmanager
async def following(api, organization, path, **headers):
    async with api.client.get(path, headers=organization.headers | headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        yield Stream(answer)


async def accept(api, organization):
    async with api.client.post("/v1/generations", json=BADGE, headers=organization.headers) as answer:
        return (await answer.json())["id"]


async def cancel(api, organization, generation_id):
    async with api.client.post(f"/v1/generations/{generation_id}/cancel", headers=organization.headers) as answer:
        assert answer.status == 200


async def read(api, organization, **query):
    async with api.client.get("/v1/events", params=query, headers=organization.headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_a_generation_is_followed_from_its_snapshot_to_its_end(api, organization, relay):
    generation_id = await accept(api, organization)
    async with following(api, organization, f"/v1/generations/{generation_id}/stream") as stream:
        first = await stream.next()
        assert (first["event"], first["data"]["status"]) == ("snapshot", "queued")
        await cancel(api, organization, generation_id)
        heard = [await stream.next()]
        while heard[-1]["event"] != "generation.cancelled":
            heard.append(await stream.next())
        assert await stream.ended()
    last = heard[-1]["data"]
    assert (last["event"]["subject"], last["generation"]["status"]) == (generation_id, "cancelled")
    assert str(last["event"]["position"]) == heard[-1]["id"]


async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(api, organization, relay):
    generation_id = await accept(api, organization)
    path = f"/v1/generations/{generation_id}/stream"
    await read(api, organization, wait=5)
    async with following(api, organization, path) as stream:
        snapshot = await stream.next()
    await cancel(api, organization, generation_id)
    async with following(api, organization, path, **{"Last-Event-ID": snapshot["id"]}) as stream:
        heard = await stream.next()
        assert heard["event"] == "generation.cancelled"
        assert await stream.ended()
    headers = organization.headers | {"Last-Event-ID": heard["id"]}
    async with api.client.get(path, headers=headers) as answer:
        assert (answer.status, await answer.read()) == (204, b"")


async def test_what_has_ended_is_shown_once(api, organization, relay):
    generation_id = await accept(api, organization)
    await cancel(api, organization, generation_id)
    async with following(api, organization, f"/v1/generations/{generation_id}/stream") as stream:
        assert (await stream.next())["data"]["status"] == "cancelled"
        assert await stream.ended()


async def test_a_position_that_no_stream_has_given_is_refused(api, organization):
    generation_id = await accept(api, organization)
    for odd in ("x", "-1", "1.5", "9" * 30):
        headers = organization.headers | {"Last-Event-ID": odd}
        for path in (f"/v1/generations/{generation_id}/stream", "/v1/events/stream"):
            async with api.client.get(path, headers=headers) as answer:
                assert (answer.status, (await answer.json())["code"]) == (422, "parameter_invalid")


async def test_events_are_read_by_position(api, organization, make_organization, relay):
    other = await make_organization()
    await accept(api, other)
    generation_id = await accept(api, organization)
    await cancel(api, organization, generation_id)
    seen, position = [], 0
    while len(seen) < 2:
        page = await read(api, organization, after=position, wait=5, limit=1)
        seen += page["data"]
        position = page["position"]
    assert [event["type"] for event in seen] == ["generation.accepted", "generation.cancelled"]
    assert {event["subject"] for event in seen} == {generation_id}
    assert position == seen[-1]["position"]
    assert await read(api, organization, after=position) == {"data": [], "position": position, "has_more": False}
    only = await read(api, organization, types="generation.cancelled,api_key.created")
    assert [event["type"] for event in only["data"]] == ["generation.cancelled"]
    assert (await read(api, organization, limit=1))["has_more"]


async def test_a_read_waits_for_the_next_event(api, organization, relay):
    waiting = asyncio.create_task(read(api, organization, wait=20))
    await asyncio.sleep(0.05)
    generation_id = await accept(api, organization)
    assert (await asyncio.wait_for(waiting, 5))["data"][0]["subject"] == generation_id


async def test_everything_in_an_organization_is_followed_from_now_on(api, organization, make_organization, relay):
    other = await make_organization()
    await accept(api, organization)
    await read(api, organization, wait=5)
    async with following(api, organization, "/v1/events/stream") as stream:
        await asyncio.sleep(0.05)
        await accept(api, other)
        generation_id = await accept(api, organization)
        heard = await asyncio.wait_for(stream.next(), 5)
    assert (heard["event"], heard["data"]["subject"]) == ("generation.accepted", generation_id)
    before = {"Last-Event-ID": str(heard["data"]["position"] - 1)}
    async with following(api, organization, "/v1/events/stream", **before) as stream:
        assert await stream.next() == heard


async def test_a_silent_stream_shows_that_it_lives(settings, organization):
    async with serving(settings, heartbeat=0.05) as api:
        generation_id = await accept(api, organization)
        async with following(api, organization, f"/v1/generations/{generation_id}/stream") as stream:
            await stream.next()
            assert (await stream.next()).keys() == {""}


@pytest.mark.slow
async def test_two_hundred_who_wait_and_follow_hold_no_connections(settings, organization, relay):
    """The pool has five; posts go on while all of them wait."""
    async with serving(settings) as api, ClientSession(api.url, connector=TCPConnector(limit=0)) as client:
        crowd = replace(api, client=client)
        generation_id = await accept(api, organization)
        path = f"/v1/generations/{generation_id}"
        prefer = organization.headers | {"Prefer": "wait=60"}

        async def wait():
            async with client.post("/v1/generations", json=BADGE, headers=prefer) as answer:
                return (await answer.json())["status"]

        async def follow():
            async with following(crowd, organization, f"{path}/stream") as stream:
                while (await stream.next())["event"] != "generation.cancelled":
                    pass
                return await stream.ended()

        waiting = [asyncio.create_task(wait()) for _ in range(50)]
        followers = [asyncio.create_task(follow()) for _ in range(150)]
        while len(api.resources.hub.waiters[organization.id, generation_id]) < 150:
            await asyncio.sleep(0.05)
        while api.resources.database.engine.pool.checkedout():
            await asyncio.sleep(0.05)
        posted = [await asyncio.wait_for(accept(api, organization), 5) for _ in range(20)]
        await cancel(api, organization, generation_id)
        assert all(await asyncio.gather(*followers))
        async with api.client.get("/v1/generations?limit=100", headers=organization.headers) as answer:
            open_ = [item["id"] for item in (await answer.json())["data"] if item["status"] == "queued"]
        assert set(posted) < set(open_)
        await asyncio.gather(*(cancel(api, organization, found) for found in open_))
        assert set(await asyncio.gather(*waiting)) == {"cancelled"}


async def fed(api, organization, count):
    """So many events, when a relay has put them all into the feed."""
    position, seen = 0, []
    while len(seen) < count:
        page = await read(api, organization, after=position, wait=5)
        seen, position = seen + page["data"], page["position"]
    return seen


async def forget_events(system, organization, through):
    """As retention does when they have been kept for long enough."""
    async with system.system_transaction() as tx:
        values = {"organization": organization.id, "through": through}
        await tx.execute(
            text("delete from feed where organization_id = :organization and position <= :through"), values
        )
        await tx.execute(text("insert into feed_horizons values (:organization, :through)"), values)


async def test_who_comes_back_to_what_is_not_kept_any_more_is_told_so(api, organization, relay, system):
    old, young = await accept(api, organization), await accept(api, organization)
    await cancel(api, organization, old)
    seen = await fed(api, organization, 3)
    await forget_events(system, organization, seen[1]["position"])
    paths = [f"/v1/events?after={seen[0]['position']}", "/v1/events/stream"]
    for path in paths:
        headers = organization.headers | {"Last-Event-ID": str(seen[0]["position"])}
        async with api.client.get(path, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (410, "position_expired"), path
    rest = [event["position"] for event in seen[2:]]
    for query in ({}, {"after": 0}, {"after": seen[1]["position"]}):
        assert [event["position"] for event in (await read(api, organization, **query))["data"]] == rest
    assert young in {event["subject"] for event in seen}


async def test_a_generation_whose_end_is_not_kept_any_more_is_not_followed_for_ever(api, organization, relay, system):
    generation_id = await accept(api, organization)
    await cancel(api, organization, generation_id)
    accepted, cancelled = await fed(api, organization, 2)
    await forget_events(system, organization, cancelled["position"])
    headers = organization.headers | {"Last-Event-ID": str(accepted["position"])}
    async with api.client.get(f"/v1/generations/{generation_id}/stream", headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (410, "position_expired")


async def test_rare_types_are_looked_for_a_stretch_at_a_time(api, organization, relay, monkeypatch):
    monkeypatch.setattr(feed, "LOOK", 2)
    for _ in range(4):
        generation_id = await accept(api, organization)
    await cancel(api, organization, generation_id)
    await fed(api, organization, 5)
    page = {"has_more": True}
    position, asked, found = 0, 0, []
    while page["has_more"]:
        page = await read(api, organization, after=position, types="generation.cancelled")
        position, asked, found = page["position"], asked + 1, found + page["data"]
    assert [event["subject"] for event in found] == [generation_id]
    assert asked >= 3
