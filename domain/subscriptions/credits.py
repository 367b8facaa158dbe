"""The credit ledger. A hold is ended once, by a settle or a release: a unique index sees to it."""

from typing import Any

import msgspec
from sqlalchemy import text, update
from sqlalchemy.dialects.postgresql import insert

from domain.subscriptions.errors import InsufficientCredits
from domain.subscriptions.models import CreditAccount, CreditEntry
from runtime import ids
from runtime.database import Reader, SystemTransaction, Transaction
from runtime.telemetry import metrics

MOVED = metrics.counter("atelier_credits_total", "Credits that the ledger moved, by kind of entry.", ["kind"])
HELD = MOVED.labels("hold")

MOVES = {
    "grant": ("granted", "available"),
    "hold": ("available", "held"),
    "settle": ("held", "spent"),
    "release": ("held", "available"),
}

# One statement, so that the figures are of one moment. Each is found without the entries: grants are few, and lead the
# index on generations as those without one; a generation is open for as long as its hold is; the rest has been spent.
BALANCE = text("""
    select
        coalesce((select sum(available) from credit_accounts), 0)::bigint as available,
        coalesce((select sum(amount) from credit_entries where generation_id is null and kind = 'grant'), 0)::bigint
            as granted,
        coalesce((select sum(price) from generations where status in ('scheduled', 'queued', 'running')), 0)::bigint
            as held
""")


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """In credits. granted = available + held + spent, always."""

    available: int
    held: int
    spent: int
    granted: int


async def hold(tx: Transaction, organization: str, generation_id: str, amount: int) -> str:
    """Id of the hold. Raises InsufficientCredits. (New generations are held by `accept_generation`, in SQL.)"""
    taken = await tx.execute(
        update(CreditAccount)
        .where(CreditAccount.organization_id == organization, CreditAccount.available >= amount)
        .values(available=CreditAccount.available - amount)
    )
    if taken.rowcount != 1:
        raise InsufficientCredits
    hold_id = ids.new("ent")
    entry = _entry(organization, "hold", amount, hold_id=hold_id, generation_id=generation_id)
    await tx.execute(insert(CreditEntry).values(entry | {"id": hold_id}))
    HELD.inc(amount)
    return hold_id


async def settle(tx: Transaction, organization: str, *, hold_id: str, generation_id: str, amount: int) -> bool:
    """Held becomes spent; touches no balance row, so it never waits for the accepts of the same organization."""
    return await _end_hold(tx, _entry(organization, "settle", amount, hold_id=hold_id, generation_id=generation_id))


async def release(tx: Transaction, organization: str, *, hold_id: str, generation_id: str, amount: int) -> bool:
    """Held becomes available again. False, and nothing happens, when the hold has ended already."""
    ended = await _end_hold(tx, _entry(organization, "release", amount, hold_id=hold_id, generation_id=generation_id))
    if ended:
        await tx.execute(
            update(CreditAccount)
            .where(CreditAccount.organization_id == organization)
            .values(available=CreditAccount.available + amount)
        )
    return ended


async def grant(tx: SystemTransaction, organization: str, amount: int) -> None:
    """New credits for an organization; makes its account when there is none."""
    await tx.execute(insert(CreditEntry).values(_entry(organization, "grant", amount)))
    MOVED.labels("grant").inc(amount)
    account = insert(CreditAccount).values(organization_id=organization, available=amount)
    await tx.execute(
        account.on_conflict_do_update(
            index_elements=[CreditAccount.organization_id], set_={"available": CreditAccount.available + amount}
        )
    )


async def balance(tx: Reader) -> Balance:
    """Of the transaction's organization. Costs the same however long its ledger is."""
    row = (await tx.execute(BALANCE)).one()
    spent = row.granted - row.available - row.held
    return Balance(available=row.available, held=row.held, spent=spent, granted=row.granted)


async def _end_hold(tx: Transaction, entry: dict[str, Any]) -> bool:
    written = await tx.execute(insert(CreditEntry).values(entry).on_conflict_do_nothing())
    if written.rowcount != 1:
        return False
    MOVED.labels(entry["kind"]).inc(entry["amount"])
    return True


def _entry(
    organization: str,
    kind: str,
    amount: int,
    *,
    hold_id: str | None = None,
    generation_id: str | None = None,
) -> dict[str, Any]:
    from_account, to_account = MOVES[kind]
    return {
        "organization_id": organization,
        "id": ids.new("ent"),
        "kind": kind,
        "from_account": from_account,
        "to_account": to_account,
        "amount": amount,
        "hold_id": hold_id,
        "generation_id": generation_id,
    }
