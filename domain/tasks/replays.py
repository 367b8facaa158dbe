"""When a customer has something done anew: a new event brings a new task, and the old one need not wait any more."""

from sqlalchemy import func, update

from domain.tasks.models import TaskRow
from runtime.database import Transaction


async def supersede(tx: Transaction, *, event_id: str, actor: str, target: str = "") -> bool:
    """Takes a dead task out of the dead letters; false when there is none."""
    result = await tx.execute(
        update(TaskRow)
        .where(TaskRow.event_id == event_id, TaskRow.actor == actor, TaskRow.target == target)
        .where(TaskRow.state == "dead")
        .values(state="cancelled", ended_at=func.now())
    )
    return result.rowcount == 1
