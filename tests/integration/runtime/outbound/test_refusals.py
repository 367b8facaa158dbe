"""Addresses are refused as they are dialled: listeners show that nothing connected, not return values."""

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from runtime import outbound
from runtime.outbound.client import _Resolver
from tests import http_server


class Names(AbstractResolver):
    """A name server that answers each look-up with the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = itertools.cycle(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in next(self._answers)
        ]

    async def close(self) -> None:
        pass


def client(allow: str, *answers: list[str], own_hosts: tuple[str, ...] = ()) -> outbound.Outbound:
    policy = outbound.Policy(allow=outbound.networks(allow), own_hosts=own_hosts)
    return outbound.Outbound(policy, total_timeout=5, resolver=Names(*answers) if answers else None)


@asynccontextmanager
async def receiver_and_trap() -> AsyncIterator[tuple[http_server.HttpServer, http_server.HttpServer]]:
    """The same port on an allowed address, 127.0.0.2, and on one that is not, 127.0.0.1."""
    async with AsyncExitStack() as stack:
        answer = http_server.response(headers={"connection": "close"})
        trap = await stack.enter_async_context(http_server.serve(answer))
        receiver = await stack.enter_async_context(http_server.serve(answer, address="127.0.0.2", port=trap.port))
        yield receiver, trap


async def test_a_private_address_is_refused_as_it_is_dialled() -> None:
    async with http_server.serve() as trap, client("", ["127.0.0.1"]) as outbound_client:
        with pytest.raises(outbound.AddressRefusedError):
            await outbound_client.request("POST", f"http://hooks.example.com:{trap.port}/", body=b"{}")
    assert trap.connections == 0


class SystemNames(_Resolver):
    """The system's own look-up, in which `hooks.example.com` is another name of `localhost`."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return await super().resolve(host.replace("hooks.example.com", "localhost"), port, family)


async def test_what_the_systems_own_look_up_finds_is_refused_too() -> None:
    async with http_server.serve() as trap:
        url = f"http://hooks.example.com:{trap.port}/"
        async with outbound.Outbound(outbound.Policy(), resolver=SystemNames()) as strict:
            with pytest.raises(outbound.AddressRefusedError):
                await strict.request("POST", url)
        assert trap.connections == 0
        allowing = outbound.Policy(allow=outbound.networks("127.0.0.0/8"))
        async with outbound.Outbound(allowing, resolver=SystemNames()) as permitted:
            assert (await permitted.request("POST", url)).address == "127.0.0.1"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "１２７.０.０.１",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "0",
        "[::]",
        "localhost",
        "localhost.",
        "sub.localhost",
    ],
)
async def test_no_spelling_of_loopback_connects(host: str) -> None:
    async with http_server.serve(address="0.0.0.0") as trap, client("") as outbound_client:
        with pytest.raises((outbound.AddressRefusedError, outbound.InvalidUrlError)):
            await outbound_client.request("POST", f"http://{host}:{trap.port}/", body=b"{}")
    assert trap.connections == 0


@pytest.mark.parametrize("answer", ["::ffff:127.0.0.1", "::127.0.0.1", "0.0.0.0", "127.1", "2130706433", "0x7f.1"])
async def test_a_name_server_cannot_smuggle_a_form_of_loopback(answer: str) -> None:
    async with http_server.serve(address="0.0.0.0") as trap, client("", [answer]) as outbound_client:
        with pytest.raises(outbound.OutboundError):
            await outbound_client.request("POST", f"http://hooks.example.com:{trap.port}/", body=b"{}")
    assert trap.connections == 0


async def test_a_name_that_changes_its_answer_reaches_only_what_is_allowed() -> None:
    """DNS rebinding: the first answer passes, the second leads inside; at random, as each connection looks up anew."""
    draw = random.Random(1)
    answers = [[draw.choice(["127.0.0.2", "127.0.0.1"])] for _ in range(97)]
    async with receiver_and_trap() as (receiver, trap), client("127.0.0.2/32", *answers) as outbound_client:
        refused = 0
        for _ in range(500):
            outbound_client._session.connector.clear_dns_cache()
            try:
                await outbound_client.request("POST", f"http://hooks.example.com:{trap.port}/", body=b"{}")
            except outbound.AddressRefusedError:
                refused += 1
    assert (trap.connections, receiver.connections + refused) == (0, 500)
    assert refused > 100


@pytest.mark.parametrize("answer", [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"], ["::1", "127.0.0.2"]])
async def test_among_several_answers_only_the_allowed_one_is_dialled(answer: list[str]) -> None:
    async with receiver_and_trap() as (receiver, trap), client("127.0.0.2/32", answer) as outbound_client:
        response = await outbound_client.request("POST", f"http://hooks.example.com:{trap.port}/")
    assert (response.address, receiver.connections, trap.connections) == ("127.0.0.2", 1, 0)


async def test_several_refused_answers_are_a_refusal() -> None:
    async with client("", ["127.0.0.1", "::1", "10.0.0.1"]) as outbound_client:
        with pytest.raises(outbound.AddressRefusedError):
            await outbound_client.request("POST", "http://hooks.example.com:9000/")


async def test_a_redirect_to_an_inner_address_is_an_answer_and_not_followed() -> None:
    async with receiver_and_trap() as (_, trap):
        answer = http_server.response(status=307, headers={"location": f"{trap.url}/admin"})
        async with (
            http_server.serve(answer, address="127.0.0.2") as receiver,
            client("127.0.0.2/32") as outbound_client,
        ):
            response = await outbound_client.request("POST", receiver.url, body=b"{}")
    assert (response.status, response.headers["Location"]) == (307, f"{trap.url}/admin")
    assert (len(receiver.requests), trap.connections) == (1, 0)


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver_and_trap() as (receiver, trap), client("127.0.0.2/32") as outbound_client:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, trap.url)
        await outbound_client.request("POST", receiver.url)
    assert (receiver.connections, trap.connections) == (1, 0)


async def test_this_installation_is_refused_under_another_name_too() -> None:
    async with (
        http_server.serve() as ours,
        http_server.serve() as theirs,
        client("127.0.0.0/8", ["127.0.0.1"], own_hosts=(f"127.0.0.1:{ours.port}",)) as outbound_client,
    ):
        with pytest.raises(outbound.AddressRefusedError):
            await outbound_client.request("POST", f"http://alias.example.com:{ours.port}/")
        await outbound_client.request("POST", f"http://alias.example.com:{theirs.port}/")
    assert (ours.connections, theirs.connections) == (0, 1)


async def test_nothing_is_written_when_the_system_connects_elsewhere_than_asked() -> None:
    """Linux takes 0.0.0.0 for loopback; an operator who allows the one has not allowed the other."""
    async with http_server.serve() as trap, client("0.0.0.0/32") as outbound_client:
        with pytest.raises(outbound.AddressRefusedError):
            await outbound_client.request("POST", f"http://0.0.0.0:{trap.port}/", body=b"secret")
    assert trap.requests == []
