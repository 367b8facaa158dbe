"""Writing to the audit trail, in the transaction of the deed."""

from typing import Any

from sqlalchemy import insert

from domain.audit.models import AuditEntry
from runtime import ids
from runtime.database import SystemTransaction, Transaction


async def write(
    tx: Transaction | SystemTransaction, organization: str, by: str, action: str, subject: str, **details: Any
) -> None:
    """`by` is who did it (`operator`, a key's id), `action` is `noun.verb` in the past tense."""
    await tx.execute(
        insert(AuditEntry).values(
            organization_id=organization,
            id=ids.new("aud"),
            actor=by,
            action=action,
            subject=subject,
            details=details,
        )
    )
