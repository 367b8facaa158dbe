"""The database steps that an actor can do for many tasks at once: what arrives while one statement runs goes into the
next. What a batch cannot do, or fails to do, is done task by task.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from domain.tasks.outcomes import Outcome, Task
from runtime import database_faults, failpoints
from runtime.batching import Lines
from runtime.database import SystemDatabase
from runtime.telemetry import logs, metrics
from workers.actor import Actor, Step
from workers.tools import Tools

log = logs.logger(__name__)

LARGEST: Final = 256
"""Tasks in one statement. Of 64 webhooks at once a worker sent a third less: each batch waits for three statements."""
PAUSE: Final = 0.02
"""Seconds by which the steps of a process that holds many tasks are put off."""
BATCHED = metrics.counter(
    "atelier_batched_steps_total", "Database steps of tasks, by how they were done.", ["step", "how"]
)


Ended = tuple[Task, Any, Outcome]


class Batches:
    """Lives on the event loop of the actors."""

    def __init__(
        self, system: SystemDatabase, tools: Tools, actors: Mapping[str, Actor], crowded: Callable[[], bool]
    ) -> None:
        def lines(step: Step) -> Lines[Any, Any]:
            run = partial(tools.bind(step), system)
            return Lines(run, largest=LARGEST, crowded=crowded, pause=PAUSE)

        having = {name: actor.batch for name, actor in actors.items() if actor.batch is not None}
        self._fits = {name: batch.fits for name, batch in having.items()}
        self._prepare: dict[str, Lines[Task, Any]] = {name: lines(batch.prepare) for name, batch in having.items()}
        self._record: dict[str, Lines[Ended, bool]] = {name: lines(batch.record) for name, batch in having.items()}

    async def prepare(self, task: Task) -> Any | None:
        """The plan; None when the actor's own `prepare` has to be asked."""
        lines = self._prepare.get(task.actor)
        plan = None
        if lines is not None:
            try:
                plan = await lines(task, ahead=task.ahead)
            except database_faults.ANY as error:
                log.warning("a batch of prepares failed; they are done one by one", error=type(error).__name__)
        BATCHED.labels("prepare", "single" if plan is None else "batch").inc()
        return plan

    async def record(self, task: Task, plan: Any, outcome: Outcome) -> bool:
        """Whether it is recorded, or was not ours to record any more. False when that is not known (the connection
        broke): the fence of the single record finds out.
        """
        lines = self._record.get(task.actor)
        done = False
        if lines is not None and self._fits[task.actor](plan, outcome):
            try:
                await lines((task, plan, outcome), ahead=task.ahead)
                failpoints.hit("worker.after_batch")
                done = True
            except database_faults.ANY as error:
                log.warning("a batch of records failed; they are done one by one", error=type(error).__name__)
        BATCHED.labels("record", "batch" if done else "single").inc()
        return done
