"""What the leading relay measures: the ledger by state, its age, and its own steps. Sampled, never by a full scan."""

from typing import Final

import asyncpg

from queue_config import queues
from runtime.telemetry import logs, metrics
from workers import reactions
from workers.actor import ACTORS

log = logs.logger(__name__)

COUNT_CAP: Final = 10_000
"""Counts stop here, so that a scrape costs the same with any backlog."""

STEP_SECONDS = metrics.histogram("atelier_relay_step_seconds", "One step of the leading relay, without sending.")
UNSENT = metrics.counter("atelier_relay_unsent_messages_total", "Messages that the broker did not take.")
LEADING = metrics.gauge("atelier_relay_leading", "1 on the relay that leads.")
_EXPANDED = metrics.counter("atelier_events_expanded_total", "Events that became tasks.")
_RECOVERED = metrics.counter("atelier_tasks_recovered_total", "Tasks made ready again after a death or a lost message.")
_DIED = metrics.counter("atelier_tasks_died_total", "Tasks that killed their worker three times.")
_TASKS = metrics.gauge("atelier_tasks", f"Open tasks by state; counted up to {COUNT_CAP}.", ["queue", "state"])
_OLDEST = metrics.gauge("atelier_oldest_task_seconds", "Age of the oldest task that could be claimed.", ["queue"])
_EVENTS = metrics.gauge("atelier_events", f"Events by state; counted up to {COUNT_CAP}.", ["state"])
_DEAD = metrics.gauge("atelier_dead_letters", f"Tasks that wait for a person; counted up to {COUNT_CAP}.", ["actor"])
_OLDEST_DEAD = metrics.gauge("atelier_oldest_dead_letter_seconds", "How long the oldest dead letter has waited.")
_LAG = metrics.gauge("atelier_relay_lag_seconds", "Age of the oldest event that no relay has expanded.")
_UNKNOWN = metrics.gauge("atelier_unknown_event_types", "Types of waiting events that this relay's code doesn't know.")

_LEDGER_SQL: Final = "select * from sample_tasks($1, $2)"
_EVENTS_SQL: Final = "select * from sample_events($1)"
_DEAD_SQL: Final = "select * from sample_dead_letters($1)"
_KNOWN: Final = frozenset(event.type for event in reactions.REACTIONS)


async def sample(connection: asyncpg.Connection) -> None:
    LEADING.set(1)
    names = [queue.name for queue in queues.QUEUES]
    for row in await connection.fetch(_LEDGER_SQL, names, COUNT_CAP):
        for state in ("ready", "scheduled", "dispatched", "running"):
            _TASKS.labels(row["queue"], state).set(row[state])
        _OLDEST.labels(row["queue"]).set(row["oldest_seconds"])
    row = await connection.fetchrow(_EVENTS_SQL, COUNT_CAP)
    _EVENTS.labels("pending").set(row["pending"])
    _EVENTS.labels("set_aside").set(row["set_aside"])
    _LAG.set(row["oldest_seconds"])
    unknown = set(row["unknown_types"] or ()) - _KNOWN
    _UNKNOWN.set(len(unknown))
    if unknown:
        log.warning("events wait for a newer release", types=sorted(unknown))
    await _sample_dead_letters(connection)


async def _sample_dead_letters(connection: asyncpg.Connection) -> None:
    found = {row["actor"]: row for row in await connection.fetch(_DEAD_SQL, COUNT_CAP)}
    for actor in ACTORS.keys() | found.keys():
        _DEAD.labels(actor).set(found[actor]["dead"] if actor in found else 0)
    _OLDEST_DEAD.set(max((row["oldest_seconds"] for row in found.values()), default=0))


def count(*, expanded: int = 0, recovered: int = 0, died: int = 0) -> None:
    _EXPANDED.inc(expanded)
    _RECOVERED.inc(recovered)
    _DIED.inc(died)


def forget() -> None:
    """Another relay leads now: what this one last saw must not stand beside what that one sees."""
    LEADING.set(0)
    _TASKS.clear()
    _OLDEST.clear()
    _EVENTS.clear()
    _DEAD.clear()
    for gauge in (_OLDEST_DEAD, _LAG, _UNKNOWN):
        gauge.set(0)
