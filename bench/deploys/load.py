"""Customers who go on whatever happens: at a steady rate, half of them on connections that they keep."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from bench.deploys import client
from bench.deploys.client import Client
from bench.tenants import Tenant

CLIENTS: Final = 16
LONGEST_GAP: Final = 0.25
"""Seconds between two requests of one client at most; at a low rate there are fewer clients. A connection that is kept
for longer may be closed under a request by any server: that is HTTP's, and no deployment's.
"""
PAUSE: Final = 0.25
"""Seconds before a client that asks again does so."""
_TURN: Final = ("post", "show", "post", "list", "post", "events", "show", "post", "list", "test")
"""What each client asks for, in turn."""


class Try(NamedTuple):
    """`status` 0: there was no whole answer, for that reason."""

    status: int
    reason: str

    @property
    def failed(self) -> bool:
        return not 200 <= self.status < 300


class Asked(NamedTuple):
    """One request as a customer sees it. `at` is when it was due (seconds of the load), `seconds` from then to the
    answer, so that one that had to wait for the one before counts it in.
    """

    what: str
    at: float
    seconds: float
    tries: tuple[Try, ...]

    @property
    def failed(self) -> bool:
        return self.tries[-1].failed


class _Made(msgspec.Struct):
    id: str


class _Endpoints(msgspec.Struct):
    data: list[_Made]


class Load:
    """From `start` to `stop`. `patience`: seconds from the first try on in which a request that failed is sent again
    under the same key; 0: nothing is mended.
    """

    def __init__(self, base_url: str, tenants: Sequence[Tenant], *, rate: float, patience: float = 0.0) -> None:
        self._base_url = base_url
        self._tenants = tenants
        self._count = max(2, min(CLIENTS, int(rate * LONGEST_GAP)))
        self._gap = self._count / rate
        self._patience = patience
        self._began = 0.0
        self._numbers = itertools.count()
        self._stopping = asyncio.Event()
        self._clients: list[asyncio.Task[None]] = []
        self.asked: list[Asked] = []
        self.accepted: dict[str, float] = {}
        """The generations' ids, with when they were accepted."""
        self.tested = 0

    def start(self) -> None:
        self._began = time.monotonic()
        self._clients = [asyncio.create_task(self._go_on(number)) for number in range(self._count)]

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    async def reach(self, count: int) -> None:
        """Until so many requests have been answered or have failed."""
        while len(self.asked) < count:
            self._raise()
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Waits for what is under way."""
        self._stopping.set()
        await asyncio.gather(*self._clients)

    def _raise(self) -> None:
        for ended in (each for each in self._clients if each.done()):
            ended.result()

    async def _go_on(self, number: int) -> None:
        tenant = self._tenants[number % len(self._tenants)]
        mine = Client(self._base_url, tenant.api_key, fresh=number % 2 == 1)
        try:
            await self._live(mine, number)
        finally:
            mine.close()

    async def _live(self, mine: Client, number: int) -> None:
        _, listed = await mine.ask("GET", "/v1/webhook-endpoints")
        endpoint = msgspec.json.decode(listed, type=_Endpoints).data[0].id
        due = self.seconds + self._gap * number / self._count
        latest = ""
        start = number % len(_TURN)
        for what in itertools.cycle(_TURN[start:] + _TURN[:start]):
            await asyncio.sleep(max(0.0, due - self.seconds))
            if self._stopping.is_set():
                break
            made = await self._ask(mine, what, due, endpoint=endpoint, latest=latest)
            latest = made or latest
            due += self._gap

    async def _ask(self, mine: Client, what: str, due: float, *, endpoint: str, latest: str) -> str:
        """The id of a generation that was made."""
        key = f"deploys-{next(self._numbers)}"
        tries = list[Try]()
        content, began = b"", self.seconds
        while not tries or (tries[-1].failed and self.seconds - began < self._patience):
            if tries:
                await asyncio.sleep(PAUSE)
            tried, content = await _try(mine, what, key, endpoint, latest)
            tries.append(tried)
        self.asked.append(Asked(what, due, self.seconds - due, tuple(tries)))
        if tries[-1].failed:
            return ""
        if what == "test":
            self.tested += 1
        if what != "post":
            return ""
        made = msgspec.json.decode(content, type=_Made).id
        self.accepted[made] = time.time()
        return made


async def _try(mine: Client, what: str, key: str, endpoint: str, latest: str) -> tuple[Try, bytes]:
    try:
        status, content = await _send(mine, what, key, endpoint, latest)
    except client.FAULTS as error:
        return Try(0, type(error).__name__), b""
    return Try(status, ""), content


async def _send(mine: Client, what: str, key: str, endpoint: str, latest: str) -> tuple[int, bytes]:
    match what:
        case "post":
            body = {"template": "badge", "input": {"label": key.removeprefix("deploys-")}}
            return await mine.ask("POST", "/v1/generations", body, key=key)
        case "show" if latest:
            return await mine.ask("GET", f"/v1/generations/{latest}")
        case "events":
            return await mine.ask("GET", "/v1/events?limit=20")
        case "test":
            return await mine.ask("POST", f"/v1/webhook-endpoints/{endpoint}/test", key=key)
        case _:
            return await mine.ask("GET", "/v1/generations?limit=20")
