"""What a person decides of a dead letter: the same for the command line, the operators' port and bulk operations."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from domain.dead_letters import operations
from domain.errors import DomainError
from domain.generations import lifecycle
from domain.tasks import dead_letters
from domain.tasks.dead_letters import DeadLetter
from domain.tasks.errors import DeadLetterNotFound, DeadLetterNotReplayable
from domain.webhooks import deliveries
from runtime.database import Database, Transaction
from runtime.telemetry import metrics

OPERATOR: Final = "operator"
"""Who decides, in the audit trail."""

BeginAnew = Callable[[Transaction, DeadLetter], Awaitable[None]]

WAYS: Final[Mapping[str, BeginAnew | None]] = {
    "dead_letters.carry_out": operations.resume,
    "dead_letters.give_up": None,
    "generations.abandon": None,
    lifecycle.RENDER: lifecycle.replay,
    "generations.withdraw": None,
    "notifications.mail": None,
    "upkeep.check_storage": None,
    "upkeep.collect": None,
    "upkeep.prune": None,
    "upkeep.sweep": None,
    deliveries.DELIVER: deliveries.replay_dead,
    "webhooks.give_up": None,
    "webhooks.purge": None,
}
"""How the work of each actor begins anew: under another event; or, None, the task itself starts over, where no business
state had ended with it.
"""

DECIDED: Final = metrics.counter(
    "atelier_dead_letters_decided_total", "Dead letters, by what was decided of them.", ["decision"]
)


async def replay(database: Database, letter: DeadLetter) -> None:
    """Raises what the domain says against it, such as InsufficientCredits; then it stays dead, and says so."""
    try:
        async with database.transaction(letter.organization_id) as tx:
            await begin_anew(tx, letter)
    except DeadLetterNotFound:
        raise
    except DomainError as refusal:
        async with database.transaction(letter.organization_id) as tx:
            await dead_letters.note_refusal(tx, letter, refusal.detail, refusal.code)
        DECIDED.labels("refused").inc()
        raise
    DECIDED.labels("replayed").inc()


async def discard(database: Database, letter: DeadLetter, reason: str) -> None:
    """Raises DeadLetterNotFound."""
    async with database.transaction(letter.organization_id) as tx:
        await dead_letters.discard(tx, letter, by=OPERATOR, reason=reason)
    DECIDED.labels("discarded").inc()


async def begin_anew(tx: Transaction, letter: DeadLetter, **details: str) -> None:
    """In a transaction of its organization. `details` are for the audit trail. Raises as `replay` does."""
    if letter.actor not in WAYS:
        raise DeadLetterNotReplayable(f"this release has no actor {letter.actor}")
    begin = WAYS[letter.actor]
    if begin is None:
        await dead_letters.revive(tx, letter, by=OPERATOR, **details)
    else:
        await dead_letters.supersede(tx, letter, by=OPERATOR, **details)
        await begin(tx, letter)
