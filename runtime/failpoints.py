"""Named places where a test may kill, fail, freeze or delay a process; a no-op unless it was started with a plan.

`ATELIER_FAILPOINTS="relay.after_commit=kill@2,render.after_put=sleep:500"` plans ahead: on its n-th hit (default the
first) a point acts once. `kill` is SIGKILL to this process, `stop` SIGSTOP, `sleep:ms` delays, `raise` raises
FailpointError, `always-raise` raises on each hit.

`ATELIER_FAILPOINTS_DIR` lets a harness arm points while the processes run: a file `<process>/<point>` in that folder
holds an action. Whoever hits the point first takes the file, by renaming it to `<point>@<pid>`, and acts. So each file
acts once, and what was hit can be counted after its process is dead.
"""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MEANINGS: Final[Mapping[str, str]] = {
    "api.after_auth": "the caller is known, nothing of the request is read",
    "api.before_accept": "the request is checked, nothing is written",
    "api.after_batch": "several requests are accepted in one transaction, none of their callers has heard of it",
    "api.before_replay": "the first answer to this key is found again, and not given",
    "api.after_commit": "accepted; nobody is woken, the caller has not heard of it",
    "api.before_carry_on": "accepted, the task of its image is dispatched, its message is not sent",
    "api.mid_answer": "the answer's head is sent, its body is not",
    "api.before_commit": "a request has changed what it wanted to, in a transaction that is open",
    "api.after_write": "a request's changes are committed, its caller has not heard of them",
    "api.in_drain": "SIGTERM came, connections are open",
    "upload.after_inspection": "a picture is checked and written anew, not stored",
    "upload.after_put": "a picture is stored, no row speaks of it",
    "relay.after_lead": "it leads, and has done nothing",
    "relay.before_step": "events and tasks are due",
    "relay.after_commit": "tasks are dispatched, no message has gone out",
    "relay.after_publish": "the messages are out, the feed's readers are not woken",
    "relay.before_recovery": "a worker is known to be gone, its tasks are its own",
    "relay.after_recovery": "the tasks of a worker that is gone are ready again",
    "relay.before_ticks": "a schedule's time has come, nothing says so",
    "relay.after_ticks": "a schedule's tick and its event are written",
    "relay.in_stop": "SIGTERM came, the lead is held",
    "worker.on_message": "a message is taken from the broker, nothing is claimed",
    "worker.after_claim": "leases are taken, nothing is done",
    "worker.after_prepare": "the plan is made, no work is done",
    "worker.in_reaction": "what is done in one transaction has been written, not committed",
    "worker.before_record": "the work is done, nothing says so",
    "worker.after_batch": "several records are committed in one statement, nobody in this process knows",
    "worker.before_carry_on": "an image is recorded, its webhooks are dispatched, their message is not sent",
    "worker.after_fence": "the lease is ended in a record's transaction, the rest of it is not written",
    "worker.before_commit": "a record is written, not committed",
    "worker.after_record": "recorded, the message is not finished with",
    "worker.in_failure": "a try has raised, nothing says so",
    "worker.before_retry": "a try has failed, its task is not put back",
    "worker.in_give_back": "SIGTERM came, tasks are stopped, not given back",
    "worker.after_give_back": "SIGTERM came, tasks are given back, the process lives",
    "heartbeat.before_renewal": "leases are to be renewed",
    "heartbeat.after_renewal": "leases are renewed, this process does not know",
    "render.after_fetch": "the pictures of an input lie in the scratch folder",
    "render.before_reuse": "an image that was made before is found, not handed out",
    "render.before_draw": "a render child is about to be asked",
    "render.after_draw": "in the child: the image is drawn, nothing is written",
    "render.after_render": "the child has answered; it has stored the image, where it does that",
    "render.after_put": "stored, not recorded",
    "child.before_call": "in a child process: the call is read, nothing is done",
    "child.before_answer": "in a child process: the work is done, not answered",
    "storage.before_place": "the bytes are on the disk, under no key",
    "storage.mid_place": "an object has its name, which is not on the disk yet",
    "webhook.after_body": "a delivery's body is kept, nothing is sent",
    "webhook.before_send": "signed, not sent",
    "webhook.after_2xx": "the receiver has it, nothing says so",
    "webhook.after_refusal": "the receiver has refused it, nothing says so",
    "webhook.before_judgement": "an attempt is written, what it says of its endpoint is not, nothing is committed",
    "mail.before_send": "it is noted that there is a mail to send",
    "mail.after_connect": "the mail server has said hello",
    "mail.after_send": "the mail server has it, nothing says so",
    "upkeep.between_batches": "some of what is too old is deleted",
    "upkeep.before_log": "old deliveries are deleted, old events are not",
    "upkeep.in_storage_check": "the store works, none of its images is looked at",
    "dead_letters.after_decision": "one of many dead letters is decided, how far it came is not written",
    "migration.after_revision": "a revision has run, and is not committed",
    "migration.after_functions": "the functions are applied, and not committed",
}
"""Every point, with what is true there."""


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
_folder: Path | None = None


def configure(spec: str, folder: Path = Path(), process: str = "") -> None:
    """Replaces all plans. `folder` is ATELIER_FAILPOINTS_DIR, in which this process has a folder of its own.

    Raises FailpointSpecError for a name that no code has, or an unknown action.
    """
    _plans.clear()
    for item in filter(None, (part.strip() for part in spec.split(","))):
        name, _, rest = item.partition("=")
        action, _, nth = rest.partition("@")
        if name not in MEANINGS:
            raise FailpointSpecError(f"no failpoint is called {name!r}; there are {', '.join(MEANINGS)}")
        if action not in {"kill", "stop", "raise", "always-raise"} and not action.startswith("sleep:"):
            raise FailpointSpecError(f"{action!r} is not an action of a failpoint")
        _plans[name] = _Plan(action, int(nth or 1))
    watch(str(folder / process) if folder != Path() else "")


def watch(folder: str) -> None:
    """A child process looks into its parent's folder, which is `watched()` there."""
    global _folder
    _folder = Path(folder) if folder else None


def watched() -> str:
    """Empty: none."""
    return str(_folder or "")


def hit(name: str) -> None:
    if _plans and (plan := _plans.get(name)):
        _act_as_planned(name, plan)
    if _folder is not None:
        _take(name, _folder)


def _act_as_planned(name: str, plan: _Plan) -> None:
    plan.hits += 1
    if plan.hits == plan.nth or plan.action == "always-raise":
        _act(name, plan.action)


def _take(name: str, folder: Path) -> None:
    taken = folder / f"{name}@{os.getpid()}"
    try:
        (folder / name).rename(taken)
    except FileNotFoundError:
        return
    _act(name, taken.read_text())


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action.startswith("sleep:"):
        time.sleep(int(action.removeprefix("sleep:")) / 1000)
    else:
        raise FailpointError(name)
