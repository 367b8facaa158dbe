"""A PgBouncer out of Debian's package on a free port, with a pool for each session."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

PROGRAM = Path("/usr/sbin/pgbouncer")
DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"
ANYBODY = "nobody"
"""PgBouncer does not run as root."""


@contextlib.asynccontextmanager
async def in_front_of(port: int, *, user: str, database: str) -> AsyncIterator[str]:
    """Its URL. Whoever asks for the database gets in as `user`. `port`: of PostgreSQL, on the loopback."""
    if not PROGRAM.exists():
        pytest.skip("there is no PgBouncer here (Debian: pgbouncer)")
    own = _free_port()
    with tempfile.TemporaryDirectory(prefix="atelier-pgbouncer-") as folder:
        config = Path(folder) / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{database} = host=127.0.0.1 port={port} user={user}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = session\nignore_startup_parameters = {ignored()}\n"
        )
        changed = ["-u", ANYBODY] if os.geteuid() == 0 else []
        process = subprocess.Popen([PROGRAM, "-q", *changed, config], stderr=subprocess.DEVNULL)
        try:
            await _until_open(own, process)
            yield f"postgresql://{user}@127.0.0.1:{own}/{database}"
        finally:
            process.kill()
            process.wait()


def ignored() -> str:
    """What the documentation tells people to let it ignore."""
    found = re.search(r"^ignore_startup_parameters = (.+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert found, f"{DOCUMENT} does not say it"
    return found[1]


async def _until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    async with asyncio.timeout(20):
        while True:
            assert process.poll() is None, f"PgBouncer ended with {process.returncode}"
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
