"""Claim, prepare, work, record: the only caller of actors' functions.

A message names tasks; what can be claimed of them is carried out here, each task by itself: prepare and record in
transactions of the task's organization, work in none. Whatever ends the process in between, the ledger finds it.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from domain.tasks import claims
from domain.tasks.outcomes import Done, Fail, Outcome, Retry, Snooze, Task
from queue_config.queues import Queue
from runtime import clock, failpoints, ids
from runtime.batching import Lines
from runtime.database import Database, SystemDatabase, Transaction
from runtime.telemetry import logs, metrics, tracing
from workers import batches, failures, perseverance
from workers.actor import Actor
from workers.batches import Batches
from workers.holdings import Holding, Holdings
from workers.rooms import Room, Rooms
from workers.tools import Tools

log = logs.logger(__name__)

CROWD: Final = 8
"""Of tasks at hand: enough to be busy with while others come together."""
MESSAGES_PER_CLAIM: Final = 32
RECORD_SECONDS: Final = 3.0
"""How long a record under way may keep a worker from stopping."""

TASK_SECONDS = metrics.histogram("atelier_task_seconds", "From claim to record of one try.", ["actor", "outcome"])
TASK_WAIT_SECONDS = metrics.histogram("atelier_task_wait_seconds", "From due to claimed.", ["actor"])
EXHAUSTED = metrics.counter("atelier_tasks_exhausted_total", "Tasks that used up their attempts.", ["actor"])
CLAIMS = metrics.counter("atelier_claims_total", "Tasks named by messages, by what came of them.", ["result"])


class Executor:
    """One per worker process. Lives on the event loop of the actors."""

    def __init__(
        self,
        database: Database,
        system: SystemDatabase,
        tools: Tools,
        actors: Mapping[str, Actor],
        *,
        lease: timedelta,
        nudge: Callable[[], None] = lambda: None,
    ) -> None:
        """`nudge` is called when the relay should look: there may be events to expand, or a window to fill again."""
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{ids.new('w')[-6:]}"
        self.holdings = Holdings()
        self.lease = lease
        self._database = database
        self._system = system
        self._tools = tools
        self._actors = actors
        self.stopping = False
        self._function = claiming(actors.values())
        self._gathers = any(actor.queue.hold for actor in actors.values())
        self._batches = Batches(system, tools, actors, self._crowded)
        self._rooms = Rooms()
        self._carriers: set[asyncio.Task[None]] = set()
        self._claims = Lines(self._claim_all, largest=MESSAGES_PER_CLAIM, crowded=self._crowded, pause=batches.PAUSE)
        self._claiming: set[int] = set()
        """Tasks from before their claim until they are held."""
        self._nudge = nudge

    async def run(self, task_ids: Sequence[int], *, ahead: bool = False) -> None:
        """One message, `ahead` of others or not. Ends when each of its tasks is recorded, given back, or was not to be
        had.
        """
        tasks = await self._claim(task_ids, ahead=ahead)
        if ahead:
            tasks = [msgspec.structs.replace(task, ahead=True) for task in tasks]
        await asyncio.gather(*(self._hold(task) for task in tasks))

    async def begin(self, queue: Queue, task_ids: Sequence[int]) -> None:
        """One message. Ends as soon as its tasks are claimed and there is room for them: whoever is slow keeps nobody
        else's message waiting.
        """
        room = self._rooms.of(queue)
        await room.enter(len(task_ids))
        try:
            tasks = await self._claim(task_ids)
        except BaseException:
            await room.leave(len(task_ids))
            raise
        await room.leave(len(task_ids) - len(tasks))
        for task in tasks:
            carrier = asyncio.create_task(self._hold_in(room, task))
            self._carriers.add(carrier)
            carrier.add_done_callback(self._carriers.discard)

    async def _hold_in(self, room: Room, task: Task) -> None:
        """Nobody waits for it, so what breaks here is said here."""
        try:
            await self._hold(task)
        except Exception as error:  # noqa: BLE001 - its lease ends, and so it is found
            log.error("a task was let go", task=str(task.id), error=failures.reason(error))  # noqa: TRY400 - texts quote data
        finally:
            await room.leave(1)

    def _crowded(self) -> bool:
        """Never where tasks are held because someone else is slow: that keeps nobody busy here."""
        return self._gathers and len(self.holdings) >= CROWD

    async def try_claim(self) -> None:
        """Claims nothing. Raises what would keep a claim from succeeding."""
        await claims.claim(
            self._system, [], actors=self._actors, owner=self.owner, lease=self.lease, function=self._function
        )

    async def _claim(self, task_ids: Sequence[int], *, ahead: bool = False) -> list[Task]:
        if self.stopping:
            return []
        wanted = [task for task in task_ids if task not in self._claiming and not self.holdings.holds(task)]
        self._claiming.update(wanted)
        try:
            tasks = await perseverance.until_done(lambda: self._claim_now(wanted, ahead=ahead))
            failpoints.hit("worker.after_claim")
        except BaseException:
            self._claiming.difference_update(wanted)
            raise
        self._claiming.difference_update(set(wanted) - {task.id for task in tasks})
        CLAIMS.labels("claimed").inc(len(tasks))
        CLAIMS.labels("gone").inc(len(task_ids) - len(tasks))
        if len(task_ids) > 1:  # several go together where more may be waiting
            self._nudge()
        return tasks

    async def _claim_now(self, task_ids: Sequence[int], *, ahead: bool) -> list[Task]:
        """Made again after it was committed unheard of, a claim has what it had. That is why a task must not be claimed
        while it is held, or another claim of this process is on its way. Who has waited until the process stops claims
        nothing more.
        """
        if self.stopping:
            return []
        return await self._claims(task_ids, ahead=ahead)

    async def _claim_all(self, messages: Sequence[Sequence[int]]) -> list[list[Task]]:
        """Those of several messages in one statement."""
        tasks = await claims.claim(
            self._system,
            list(itertools.chain.from_iterable(messages)),
            actors=self._actors,
            owner=self.owner,
            lease=self.lease,
            number=self.holdings.number,
            function=self._function,
        )
        found = {task.id: task for task in tasks}
        return [[found[task] for task in message if task in found] for message in messages]

    async def give_back(self) -> None:
        """At SIGTERM: stops what runs and gives it back at once, with no count raised. A record under way is given some
        seconds to finish.
        """
        self.stopping = True
        stopped = await self.holdings.stop_all()
        failpoints.hit("worker.in_give_back")
        await self._give_back(stopped)
        failpoints.hit("worker.after_give_back")
        await self._give_back(await self.holdings.stop_records(RECORD_SECONDS))

    async def _give_back(self, stopped: dict[int, int]) -> None:
        if stopped:
            given = await perseverance.until_done(lambda: claims.give_back(self._system, stopped))
            log.info("gave tasks back", tasks=given)

    async def _hold(self, task: Task) -> None:
        with (
            self.holdings.hold(task.id, task.lease_token) as holding,
            logs.bound(organization=task.organization_id, event=task.event_id, task=str(task.id), actor=task.actor),
            tracing.continue_from(task.traceparent),
            tracing.start_span(f"task {task.actor}", kind="consumer", attributes={"task": task.id}),
        ):
            self._claiming.discard(task.id)
            if self.stopping:  # it was claimed while the others were given back
                await self._give_back({task.id: task.lease_token})
                return
            TASK_WAIT_SECONDS.labels(task.actor).observe(max(0.0, task.waited_seconds))
            try:
                await self._carry_out(task, self._actors[task.actor], holding)
            except asyncio.CancelledError:
                if not holding.stopped:
                    raise
                log.info("stopped: the lease was revoked or the process ends")

    async def _carry_out(self, task: Task, actor: Actor, holding: Holding) -> None:
        began = time.perf_counter()
        try:
            outcome = await self._try(task, actor, holding)
        except Exception as error:  # noqa: BLE001 - whatever an actor raises is its try's end, not the worker's
            reason, frames = failures.reason(error), failures.frames(error)
            failpoints.hit("worker.in_failure")
            log.error("a try failed", error=reason, frames=frames)  # noqa: TRY400 - a traceback's texts quote data
            outcome = await self._record_failure(task, actor, holding, reason)
        seconds, kind = time.perf_counter() - began, type(outcome).__name__.lower()
        TASK_SECONDS.labels(task.actor, kind).observe(seconds)
        logs.plain(__name__, "task", outcome=kind, milliseconds=round(seconds * 1000, 2))
        failpoints.hit("worker.after_record")

    async def _try(self, task: Task, actor: Actor, holding: Holding) -> Outcome:
        if actor.work is None:
            await self._end(holding, lambda: self._do_in_one(task, actor))
            return Done()
        plan = await perseverance.until_done(lambda: self._prepare(task, actor))
        if plan is None:
            await self._end(holding, lambda: self._drop(task))
            return Done()
        failpoints.hit("worker.after_prepare")
        outcome = await self._work(actor, plan)
        failpoints.hit("worker.before_record")
        await self._end(holding, lambda: self._record(task, actor, plan, outcome))
        return outcome

    async def _end(self, holding: Holding, record: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            async with holding.recording():
                await record()

        await perseverance.until_done(guarded)

    @contextlib.asynccontextmanager
    async def _ending(self, task: Task) -> AsyncIterator[Transaction]:
        """The transaction that ends the try."""
        async with self._database.transaction(task.organization_id) as tx:
            yield tx
        self._nudge()

    async def _do_in_one(self, task: Task, actor: Actor) -> None:
        async with self._ending(task) as tx:
            if await claims.finish(tx, task):
                await self._tools.bind(actor.prepare)(tx, task)
                failpoints.hit("worker.in_reaction")

    async def _drop(self, task: Task) -> None:
        """There is nothing to do any more."""
        async with self._ending(task) as tx:
            await claims.finish(tx, task)

    async def _prepare(self, task: Task, actor: Actor) -> Any:
        plan = await self._batches.prepare(task)
        if plan is None:
            async with self._database.transaction(task.organization_id) as tx:
                plan = await self._tools.bind(actor.prepare)(tx, task)
        return plan

    async def _record(self, task: Task, actor: Actor, plan: Any, outcome: Outcome) -> None:
        if await self._batches.record(task, plan, outcome):
            if actor.batch is not None and actor.batch.says:
                self._nudge()
            return
        async with self._ending(task) as tx:
            if await self._leave(tx, task, actor, outcome) and actor.record is not None:
                failpoints.hit("worker.after_fence")
                await self._tools.bind(actor.record)(tx, task, plan, outcome)
                failpoints.hit("worker.before_commit")

    async def _work(self, actor: Actor, plan: Any) -> Outcome:
        assert actor.work is not None  # noqa: S101 - for the type checker: the caller has looked
        try:
            async with asyncio.timeout(_limit(actor)):
                outcome: Outcome = await self._tools.bind(actor.work)(plan)
        except TimeoutError:
            return Retry(f"not done within {actor.queue.time_limit:g} s")
        return outcome

    async def _record_failure(self, task: Task, actor: Actor, holding: Holding, reason: str) -> Outcome:
        outcome = Retry(reason)

        async def leave() -> None:
            async with self._ending(task) as tx:
                await self._leave(tx, task, actor, outcome)

        try:
            await self._end(holding, leave)
        except Exception as error:  # noqa: BLE001 - its lease is not renewed any more, and so it is found
            log.warning("a failed try could not be recorded", error=failures.reason(error))
        return outcome

    async def _leave(self, tx: Transaction, task: Task, actor: Actor, outcome: Outcome) -> bool:
        """The fence, always the first statement of a record: false when the task is not ours any more."""
        match outcome:
            case Done() | Fail():
                return await claims.finish(tx, task)
            case Snooze(at=at, reason=reason):
                return await claims.postpone(tx, task, at, reason=reason, counts=False)
            case Retry(reason=reason, at=at, final=final):
                failpoints.hit("worker.before_retry")
                again = at or _by_policy(task, actor)
                if final or again is None:
                    EXHAUSTED.labels(task.actor).inc()
                    return await claims.bury(tx, task, reason=reason)
                return await claims.postpone(tx, task, again, reason=reason, counts=True)


def claiming(actors: Iterable[Actor]) -> str:
    """The SQL function that claims for a process with these actors. Raises ValueError where two want their own."""
    own = {actor.batch.claim for actor in actors if actor.batch is not None and actor.batch.claim is not None}
    if len(own) > 1:
        raise ValueError(f"a process claims by one function, not by {' and '.join(sorted(own))}")
    return own.pop() if own else claims.CLAIM


def _limit(actor: Actor) -> float:
    """Seconds that one try may work."""
    return actor.queue.time_limit


def _by_policy(task: Task, actor: Actor) -> datetime | None:
    delay = actor.policy.next(task.attempts + 1, key=str(task.id))
    return None if delay is None else clock.machine() + delay
