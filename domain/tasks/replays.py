"""When a customer has something done anew: a new event brings a new task, and the old one need not wait any more."""

from sqlalchemy import and_, func, or_, update

from domain.tasks.models import TaskRow
from runtime.database import Transaction


async def supersede(tx: Transaction, organization: str, *, actor: str, event_id: str, target: str, subject: str) -> int:
    """Takes dead tasks of one thing out of the dead letters: the first one, and those of earlier replays, whose
    `subject` is the thing itself. How many there were.
    """
    result = await tx.execute(
        update(TaskRow)
        .where(TaskRow.organization_id == organization, TaskRow.actor == actor, TaskRow.state == "dead")
        .where(or_(and_(TaskRow.event_id == event_id, TaskRow.target == target), TaskRow.subject == subject))
        .values(state="cancelled", ended_at=func.now())
    )
    return result.rowcount
