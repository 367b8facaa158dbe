"""Clients as careful customers write them: every request has an Idempotency-Key and is asked again until answered."""

import asyncio
import contextlib
import hashlib
import io
import random
import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import msgspec
from PIL import Image

from bench.faults.journal import Answered, Asked, Journal
from bench.tenants import Tenant

PATIENCE: Final = 90.0
TRY_TIMEOUT: Final = 5.0
DOUBLED, CANCELLED, AGAIN, LARGE, PORTRAIT, BURST = 0.10, 0.05, 0.05, 0.05, 0.06, 0.08
"""Parts of the requests that are sent twice at once, cancelled, ask for an image that was made before, are large, show
an uploaded picture, come together with others of their tenant.
"""
TOGETHER: Final = 4


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """`pause`: seconds between two requests of one client, evenly drawn. `most_open`: events and tasks under way, above
    which no new requests are sent.
    """

    tenants: int
    clients: int
    pause: tuple[float, float]
    most_open: int


class Load:
    """Runs from `start` to `stop`, which waits for the answers that are owed. `accepted` counts keys with a 2xx."""

    def __init__(self, base_url: str, tenants: Sequence[Tenant], journal: Journal, seed: int, pace: Pace) -> None:
        self._session = aiohttp.ClientSession(base_url, timeout=aiohttp.ClientTimeout(total=TRY_TIMEOUT))
        self._tenants = tenants
        self._journal = journal
        self._random = random.Random(f"load {seed}")
        self._seed = seed
        self.pace = pace
        self._count = 0
        self._stopping = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._clients: list[asyncio.Task[None]] = []
        self.accepted = 0

    def start(self) -> None:
        self._clients = [asyncio.create_task(self._client()) for _ in range(self.pace.clients)]

    def throttle(self, *, rest: bool) -> None:
        """While clients rest they send nothing new: a backlog would only make the round longer."""
        if rest:
            self._wanted.clear()
        else:
            self._wanted.set()

    async def stop(self) -> None:
        self._stopping.set()
        self._wanted.set()
        await asyncio.gather(*self._clients)

    async def close(self) -> None:
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._session.close()

    async def image(self, body: dict[str, Any], *, what: str = "image", twice: bool = False) -> tuple[int, str]:
        """Asks until it is answered; returns the tenant and the generation's id, empty when nobody answered."""
        tenant = self._draw_tenant()
        return tenant, await self._image(tenant, body, what=what, twice=twice)

    async def _image(self, tenant: int, body: dict[str, Any], *, what: str = "image", twice: bool = False) -> str:
        self._count += 1
        key = f"{self._seed}-{self._count}"
        content = msgspec.json.encode(body | {"metadata": {"key": key}})
        sendings = [self._ask("/v1/generations", content, tenant=tenant, key=key, what=what) for _ in range(1 + twice)]
        found = [generation for generation in await asyncio.gather(*sendings) if generation]
        self.accepted += bool(found)
        return found[0] if found else ""

    async def _client(self) -> None:
        while not self._stopping.is_set():
            drawn = self._random.random()
            if drawn < BURST:
                tenant = self._draw_tenant()
                await asyncio.gather(*(self._image(tenant, self._draw_body()) for _ in range(TOGETHER)))
            elif drawn < BURST + PORTRAIT:
                await self._with_portrait(self._draw_tenant())
            else:
                await self._alone()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._random.uniform(*self.pace.pause)):
                    await self._stopping.wait()
            await self._wanted.wait()

    async def _alone(self) -> None:
        tenant, generation = await self.image(self._draw_body(), twice=self._random.random() < DOUBLED)
        if generation and self._random.random() < CANCELLED:
            await asyncio.sleep(self._random.uniform(0, 0.3))
            path = f"/v1/generations/{generation}/cancel"
            await self._ask(path, b"{}", tenant=tenant, key=f"cancel-{generation}", what="cancel")

    async def _with_portrait(self, tenant: int) -> None:
        self._count += 1
        file = await self._ask("/v1/files", _PORTRAIT, tenant=tenant, key=f"file-{self._count}", what="upload")
        if file:
            await self._image(
                tenant, {"template": "quote-card", "input": {"quote": file, "name": "A", "portrait": file}}
            )

    async def _ask(self, path: str, body: bytes, *, tenant: int, key: str, what: str) -> str:
        self._journal.write(Asked(at=time.time(), key=key, what=what, tenant=tenant))
        headers = {
            "Authorization": f"Bearer {self._tenants[tenant].api_key}",
            "Idempotency-Key": key,
            "Content-Type": "image/png" if what == "upload" else "application/json",
        }
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                async with self._session.post(path, data=body, headers=headers) as answer:
                    content = await answer.read()
                    generation = str((await answer.json(content_type=None)).get("id", ""))
                self._journal.write(
                    Answered(
                        at=time.time(),
                        key=key,
                        status=answer.status,
                        id=generation,
                        sha256=hashlib.sha256(content).hexdigest(),
                    )
                )
                if answer.status < 500 and not _is_later(answer):
                    return generation
            await asyncio.sleep(self._random.uniform(0.1, 0.4))
        return ""

    def _draw_tenant(self) -> int:
        """Some have much more to do than others."""
        return min(int(self._random.paretovariate(1.2)) - 1, len(self._tenants) - 1)

    def _draw_body(self) -> dict[str, Any]:
        drawn = self._random.random()
        if drawn < AGAIN:
            return {"template": "badge", "input": {"label": "again"}}
        if drawn < AGAIN + LARGE:
            return large(f"{self._seed} {self._count}")
        return {"template": "badge", "input": {"label": str(self._count), "caption": f"seed {self._seed}"}}


def _portrait() -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "#4f46e5").save(picture, "PNG")
    return picture.getvalue()


_PORTRAIT: Final = _portrait()


def large(words: str) -> dict[str, Any]:
    """A request that keeps its render child busy for some tenths of a second."""
    return {"prompt": f"A large picture of {words}", "output": {"format": "png", "scale": 2}}


def _is_later(answer: aiohttp.ClientResponse) -> bool:
    """429, and 409 while another request with the same key is busy: both say when to come again."""
    return answer.status in {409, 429} and "Retry-After" in answer.headers
