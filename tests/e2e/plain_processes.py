"""The services of compose.yaml that are made from our image, as plain processes on this machine.

Nothing of this machine's environment reaches them but PATH, so what they need is in compose.yaml and in the image.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.conftest import Servers
from tests.e2e.compose_file import ROOT, entrypoint

PATIENCE = 60.0


class PlainProcess:
    """One service: its command, its environment with this machine's addresses, and its own health check."""

    def __init__(self, name: str, service: Mapping[str, Any], servers: Servers, data: Path) -> None:
        self.name = name
        self.environment = _environment(service["environment"], servers, data)
        self._service = service
        self._log = data / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*entrypoint(), *self._service["command"]],
                env=self.environment,
                cwd=self._log.parent,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def healthy(self) -> bool:
        kind, *command = self._service["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    async def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not await asyncio.to_thread(self.healthy):
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.output()}"
            assert time.monotonic() < deadline, f"{self.name} did not get healthy:\n{self.output()}"
            await asyncio.sleep(0.1)

    async def wait(self, seconds: float) -> int:
        """The exit status; raises subprocess.TimeoutExpired."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, seconds)

    async def stop(self) -> int:
        """As an engine would: its signal, then its grace period."""
        assert self.process is not None
        self.process.send_signal(getattr(signal, self._service.get("stop_signal", "SIGTERM")))
        return await self.wait(float(self._service["stop_grace_period"].removesuffix("s")))

    def output(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def of(services: Mapping[str, Any], servers: Servers, data: Path) -> Iterator[dict[str, PlainProcess]]:
    """Every service that is built here; whatever still runs at the end is killed."""
    made = {name: PlainProcess(name, each, servers, data) for name, each in services.items() if "build" in each}
    try:
        yield made
    finally:
        for process in made.values():
            process.kill()


def _environment(given: Mapping[str, str], servers: Servers, data: Path) -> dict[str, str]:
    found = {name: value for name, value in given.items() if value}
    for name, value in found.items():
        if name.endswith("_PORT"):
            found[name] = str(_free_port())
        elif value.startswith("postgresql://"):
            found[name] = _on_this_machine(value, servers)
    found |= {"ATELIER_REDIS_URL": servers.redis_url, "ATELIER_HOST": "127.0.0.1", "ATELIER_DATA_DIR": str(data)}
    inherited = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return inherited | found | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _on_this_machine(address: str, servers: Servers) -> str:
    """The same role and database, on the embedded server."""
    parts, here = urlsplit(address), urlsplit(servers.admin_url)
    credentials = here.netloc if parts.username == "postgres" else f"{parts.username}:{parts.password}@"
    return urlunsplit(here._replace(netloc=credentials, path=parts.path))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
