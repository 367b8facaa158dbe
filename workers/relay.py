"""Events into tasks, due tasks into messages. One relay leads, others stand by; each step is one SQL function."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import dramatiq
import msgspec

from queue_config import messages, queues
from queue_config.base import AHEAD, IN_TURN, MessageBroker
from queue_config.errors import BrokerUnavailableError
from runtime import database, database_faults, failpoints, wakeups
from runtime.settings import Settings
from runtime.telemetry import logs, statements
from workers import backpressure, measuring, orphans, reactions, schedule
from workers.actor import ACTORS
from workers.backpressure import Backpressure
from workers.orphans import Orphans
from workers.windows import Window

log = logs.logger(__name__)

EVENTS_PER_STEP: Final = 500
STANDBY_SECONDS: Final = 0.5
SAMPLE_SECONDS: Final = 1.0
FROZEN_SECONDS: Final = 5.0
"""A leader that asks nothing for so long is frozen or lost: the server ends its session, and a standby leads."""
BROKER_REST: Final = 0.5
"""Between two tries to send to a broker that is away."""
BREATH: Final = 0.04
"""Seconds of rest after a step while the workers have enough to do: what comes meanwhile goes together, and costs
little more than one. A window holds work for longer (`Queue.wait`).
"""
RECOVERY_SECONDS: Final = 0.2
"""Between two looks for what workers have left, however fast the steps follow each other."""
FIRST_REST: Final = 1.0
LONGEST_REST: Final = 30.0

_LEAD = "select pg_try_advisory_lock(hashtext('atelier.relay'))"
_UNDISPATCH = "select undispatch_tasks($1)"
STEP = "select * from relay_step($1, $2, $3, $4, $5, $6)"
_PASSING_CLASSES: Final = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""Of SQLSTATE: the connection, a session that was ended, a deadlock, resources, a lock, an operator, the system."""
_QUOTING_CLASSES: Final = frozenset({"22", "23"})
"""Of SQLSTATE: errors in data, whose texts quote it."""


class Sending(msgspec.Struct, frozen=True, array_like=True):
    """Tasks that are dispatched now. `ahead` are those whose organizations come back from a pause."""

    queue: str
    actor: str
    tasks: list[int]
    ahead: list[int]


class Step(msgspec.Struct, frozen=True):
    """What one step did. `waiting`: how many tasks of each queue had been dispatched before and were not claimed yet;
    `moved`: those that changed their lane instead.
    """

    expanded: int
    set_aside: int
    recovered: int
    died: int
    head: int
    waiting: dict[str, int]
    moved: int
    messages: list[Sending]


class Duty:
    """What the leading relay does every few seconds."""

    def __init__(self, seconds: float, carry_out: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        self._seconds = seconds
        self._carry_out = carry_out
        self._due = 0.0

    async def carry_out_when_due(self, connection: asyncpg.Connection) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            await self._carry_out(connection)


async def _carry_out(duties: Iterable[Duty], connection: asyncpg.Connection) -> None:
    """Those that are due."""
    for duty in duties:
        await duty.carry_out_when_due(connection)


class Relay:
    def __init__(self, settings: Settings, broker: MessageBroker) -> None:
        self._settings = settings
        self._broker = broker
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._feed = wakeups.Nudge(settings, wakeups.FEED)
        self._head = 0
        self._arguments = arguments(settings)
        self._windows = {queue.name: Window(queue) for queue in queues.QUEUES}
        self._refused: str | None = None
        self._rest_seconds = FIRST_REST
        self._seen_database = -math.inf
        self._recovered_at = -math.inf
        self._broker_rests_until = -math.inf
        self._longest_silence = max(FROZEN_SECONDS, 3 * settings.relay_sweep)
        self.leading = False

    def ailment(self) -> str | None:
        """What PostgreSQL has refused, until it carries out a step again."""
        return self._refused

    async def hindrance(self) -> str | None:
        """What keeps it from leading, or from being ready to."""
        if self._stopping.is_set():
            return "it stops"
        silent = time.monotonic() - self._seen_database
        return None if silent < self._longest_silence else "it does not reach the database"

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`, and no longer than `ATELIER_SHUTDOWN_TIMEOUT` after it, though the database may be silent;
        survives the loss of its connection, and with it of the lead.
        """
        async with wakeups.listening(self._settings, wakeups.NUDGE, self._wake.set):
            serving = asyncio.create_task(self._keep_serving())
            stop = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait([serving], timeout=self._settings.shutdown_timeout)
            finally:
                stop.cancel()
                serving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await serving
        await self._feed.close()

    async def _keep_serving(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._serve()
            except asyncpg.PostgresError as error:
                await self._rest(self._lost(error) if _passes(error) else self._refuse(error))
            except (*database_faults.ANY, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not database_faults.is_disconnect(error):
                    raise
                await self._rest(self._lost(error))

    def _lost(self, error: Exception) -> float:
        """Seconds to rest."""
        log.warning("the relay lost the database", error=type(error).__name__)
        return STANDBY_SECONDS

    def _refuse(self, error: asyncpg.PostgresError) -> float:
        """Seconds to rest, more each time: the schema or the code is wrong, and will be so in a moment too."""
        seconds, self._rest_seconds = self._rest_seconds, min(self._rest_seconds * 2, LONGEST_REST)
        kind, state = type(error).__name__, error.sqlstate or "?"
        said = None if state[:2] in _QUOTING_CLASSES else error.message
        self._refused = f"PostgreSQL refuses the relay's work: {kind} ({state})"
        log.error("PostgreSQL refuses the relay's work", error=kind, sqlstate=state, text=said, rest=seconds)
        return seconds

    async def _serve(self) -> None:
        connection = await database.connect(
            self._settings.database_system_url,
            name="atelier-relay",
            flush=False,
            idle_seconds=self._longest_silence,
        )
        statements.watch(connection, self._settings.slow_statement, "relay")
        try:
            while not await connection.fetchval(_LEAD):
                self._seen_database = time.monotonic()
                await self._rest(STANDBY_SECONDS)
                if self._stopping.is_set():
                    return
            log.info("this relay leads")
            self.leading = True
            failpoints.hit("relay.after_lead")
            await self._lead(connection)
        finally:
            self.leading = False
            measuring.forget()
            with contextlib.suppress(*database_faults.ANY):
                await connection.close(timeout=2)

    async def _lead(self, connection: asyncpg.Connection) -> None:
        duties = self._duties()
        await _carry_out(duties, connection)
        while not self._stopping.is_set():
            self._wake.clear()
            step = await self._step(connection)
            self._refused, self._rest_seconds = None, FIRST_REST
            self._seen_database = time.monotonic()
            await _carry_out(duties, connection)  # now, and not before the step, which somebody may wait for
            if step.expanded < EVENTS_PER_STEP and not step.moved:
                if self._workers_are_busy(step):
                    await self._rest(BREATH)
                await self._pause(self._settings.relay_sweep)
        failpoints.hit("relay.in_stop")

    def _duties(self) -> Sequence["Duty"]:
        """Beside the steps; begun anew with each lead."""
        return (
            Duty(orphans.LOOK_SECONDS, Orphans().look),
            Duty(SAMPLE_SECONDS, measuring.sample),
            Duty(backpressure.LOOK_SECONDS, Backpressure(self._settings).look),
            Duty(schedule.LOOK_SECONDS, schedule.look),
        )

    async def _step(self, connection: asyncpg.Connection) -> Step:
        failpoints.hit("relay.before_step")
        with measuring.STEP_SECONDS.time():
            row = await connection.fetchrow(STEP, *self._next_arguments())
        step = read_step(row)
        self._note(step)
        if step.messages:
            await self._send(connection, step)
        if step.head != self._head:
            self._head = step.head
            self._feed.send()
        measuring.count(expanded=step.expanded, recovered=step.recovered, died=step.died)
        if step.set_aside:
            log.error("events could not be expanded and were set aside", events=step.set_aside)
        return step

    def _workers_are_busy(self, step: Step) -> bool:
        """Some window is full again, and was not empty before: whoever is nudging has enough to do."""
        return any(window.full and step.waiting[name] for name, window in self._windows.items())

    def _note(self, step: Step) -> None:
        sent = Counter[str]()
        for sending in step.messages:
            sent[sending.queue] += len(sending.tasks)
        for name, window in self._windows.items():
            window.note(sent[name], step.waiting[name])

    def _next_arguments(self) -> "Arguments":
        recovers = time.monotonic() - self._recovered_at >= RECOVERY_SECONDS
        if recovers:
            self._recovered_at = time.monotonic()
        return self._arguments._replace(queues=self._sizes(), unclaimed=self._arguments.unclaimed if recovers else None)

    def _sizes(self) -> str:
        """Nothing is dispatched while the broker is given time to come back."""
        return _sizes(self._windows.values(), closed=time.monotonic() < self._broker_rests_until)

    async def _send(self, connection: asyncpg.Connection, step: Step) -> None:
        """What cannot be sent now is ready again at once."""
        failpoints.hit("relay.after_commit")
        going = list(sendable(step))
        try:
            await asyncio.to_thread(self._broker.enqueue_many, going)
            failpoints.hit("relay.after_publish")
        except BrokerUnavailableError:
            measuring.UNSENT.inc(len(going))
            log.warning("the broker is away; tasks wait", messages=len(going))
            await connection.execute(_UNDISPATCH, [task for sending in step.messages for task in sending.tasks])
            self._broker_rests_until = time.monotonic() + BROKER_REST

    async def _rest(self, seconds: float) -> None:
        """Unlike `_pause`, no nudge shortens it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


class Arguments(NamedTuple):
    """Of `relay_step`: only event types and actors that this code knows are touched; others wait for a newer relay.
    `unclaimed` None: without recovery.
    """

    types: list[str]
    reactions: str
    actors: list[str]
    queues: str
    limit: int
    unclaimed: timedelta | None


def arguments(settings: Settings) -> Arguments:
    return Arguments(
        types=[event.type for event in reactions.REACTIONS],
        reactions=_json(reactions.rows()),
        actors=list(ACTORS),
        queues=_sizes(Window(queue) for queue in queues.QUEUES),
        limit=EVENTS_PER_STEP,
        unclaimed=timedelta(seconds=settings.dispatched_timeout),
    )


def _sizes(windows: Iterable[Window], *, closed: bool = False) -> str:
    return _json(
        [
            {
                "queue": each.queue.name,
                "size": 0 if closed else each.size,
                "capped": each.queue.capped,
                "lane": each.queue.lane,
            }
            for each in windows
        ]
    )


def read_step(row: asyncpg.Record) -> Step:
    decoded = {name: msgspec.json.decode(row[name]) for name in ("waiting", "messages")}
    return msgspec.convert({**row, **decoded}, Step)


def sendable(step: Step) -> Iterator[dramatiq.Message[Any]]:
    for sending in step.messages:
        queue, ahead = queues.BY_NAME[sending.queue], set(sending.ahead)
        name = ACTORS[sending.actor].name_in(queue)
        for options in (AHEAD, IN_TURN):
            tasks = [task for task in sending.tasks if (task in ahead) == (options is AHEAD)]
            yield from messages.of_tasks(queue, name, tasks, options)


def _passes(error: asyncpg.PostgresError) -> bool:
    """Whether the same statement may succeed on another connection or in a moment."""
    return (error.sqlstate or "")[:2] in _PASSING_CLASSES


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
