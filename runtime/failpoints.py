"""Named places where a test may kill, fail or delay a process; a no-op unless `ATELIER_FAILPOINTS` names them.

`ATELIER_FAILPOINTS="relay.after_commit=kill@2,render.after_put=sleep:500,api.after_commit=raise"`: on its n-th hit
(default the first) a point acts once; `kill` is SIGKILL to this process, `sleep:ms` delays, `raise` raises
FailpointError, `always-raise` raises on each hit. When `ATELIER_FAILPOINTS_LOG` names a file, each action is written
to it and synced before it happens, so that a harness can count hits of a process that died.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

NAMES: frozenset[str] = frozenset(
    {
        "api.after_commit",
        "relay.after_commit",
        "worker.after_claim",
        "worker.before_record",
        "worker.after_record",
        "worker.in_give_back",
        "render.after_render",
        "render.after_put",
        "webhook.after_2xx",
        "dead_letters.after_decision",
    }
)


class FailpointError(Exception):
    """Raised by a failpoint whose action is `raise`."""


class FailpointSpecError(ValueError):
    """ATELIER_FAILPOINTS could not be read."""


@dataclass
class _Plan:
    action: str
    nth: int
    hits: int = 0


_plans: dict[str, _Plan] = {}


def configure(spec: str) -> None:
    """Replaces all plans. Raises FailpointSpecError for a name that no code has, or an unknown action."""
    _plans.clear()
    for item in filter(None, (part.strip() for part in spec.split(","))):
        name, _, rest = item.partition("=")
        action, _, nth = rest.partition("@")
        if name not in NAMES:
            raise FailpointSpecError(f"no failpoint is called {name!r}; there are {', '.join(sorted(NAMES))}")
        if action not in {"kill", "raise", "always-raise"} and not action.startswith("sleep:"):
            raise FailpointSpecError(f"{action!r} is not an action of a failpoint")
        _plans[name] = _Plan(action, int(nth or 1))


def hit(name: str) -> None:
    if _plans and (plan := _plans.get(name)):
        _act(name, plan)


def _act(name: str, plan: _Plan) -> None:
    plan.hits += 1
    if plan.hits != plan.nth and plan.action != "always-raise":
        return
    _log(f"{name},{os.getpid()},{plan.hits}\n")
    if plan.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif plan.action.startswith("sleep:"):
        time.sleep(int(plan.action.removeprefix("sleep:")) / 1000)
    else:
        raise FailpointError(name)


def _log(line: str) -> None:
    if path := os.environ.get("ATELIER_FAILPOINTS_LOG"):
        with Path(path).open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
