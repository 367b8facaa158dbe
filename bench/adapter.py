"""How the peers' driver starts this product and talks to it. Loaded by the driver's own interpreter: standard library
only. The interface is the driver's.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORKERS = ("worker-images", "worker-io")
PROCESSES = ("api", "relay", *WORKERS)


class Peer:
    """One API process, one relay, one worker for images (which draws in three processes on two cores) and one for all
    else.
    """

    name = "Atelier (1 API, 1 relay, 1 image worker, 1 io worker)"

    def start(self, services: Any, hook: str) -> None:
        python = os.environ.get("ATELIER_BENCH_PYTHON") or str(ROOT / ".venv" / "bin" / "python")
        given = {
            "--postgres": services.pg_url,
            "--redis": services.redis_url,
            "--hook": f"{hook}/hook",
            "--folder": str(Path(services.dir) / "atelier"),
        }
        self._served = subprocess.Popen(
            [python, "-m", "bench.serve", *(part for pair in given.items() for part in pair)],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._served.stdout is not None
        line = self._served.stdout.readline()
        if not line:
            sys.exit("the installation did not start; what it said is above")
        ready = json.loads(line)
        self.base = ready["base_url"]
        self._keys = ready["api_keys"]
        self._contract = Path(ready["contract"])

    def request(self, number: int) -> tuple[str, str, dict[str, str], bytes]:
        headers = {
            "authorization": f"Bearer {self._keys[number % len(self._keys)]}",
            "content-type": "application/json",
            "idempotency-key": f"driver-{number}",
        }
        body = json.dumps({"template": "badge", "input": {"label": str(number)}}).encode()
        return "POST", "/v1/generations", headers, body

    def accepted(self, status: int, body: bytes) -> str | None:
        return json.loads(body)["id"] if status == 202 else None

    def webhook(self, body: bytes) -> str:
        """Endpoints ask for `generation.succeeded` alone."""
        generation: str = json.loads(body)["data"]["id"]
        return generation

    def pids(self) -> list[int]:
        """With the process that they are forked from: what they share with it would be theirs without it."""
        present = self._pids()
        return [*(pid for name, pid in present.items() if name in PROCESSES), *_forkservers(self._served.pid)]

    def kill_workers(self) -> None:
        """With their render children, as a crash of that machine would."""
        present = self._pids()
        self._killed = {name: present[name] for name in WORKERS}
        for pid in self._killed.values():
            os.killpg(pid, signal.SIGKILL)

    def start_workers(self) -> None:
        """The supervisor does that."""
        while not all(self._pids().get(name) not in {None, pid} for name, pid in self._killed.items()):
            time.sleep(0.01)

    def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._served.communicate("", timeout=60)

    def _pids(self) -> dict[str, int]:
        pids: dict[str, int] = json.loads(self._contract.read_bytes())["pids"]
        return pids


def _forkservers(supervisor: int) -> list[int]:
    """None where there is no /proc, for there is no fork server either."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [int(each) for each in children if b"runtime.forkserver" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return []
