"""The ledger's one table."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    Identity,
    Index,
    Sequence,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id, OrganizationId, OrganizationKey

LEASE_TOKENS = Sequence("lease_tokens", metadata=Base.metadata)
OWNER_NUMBERS = Sequence("owner_numbers", metadata=Base.metadata)

STATES = ("ready", "dispatched", "running", "done", "dead", "cancelled")


class TaskRow(Base):
    """One reaction to one event for one target. Keyed by a number alone: messages carry it, nothing refers to it."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    organization_id: Mapped[OrganizationId]
    event_id: Mapped[Id]
    actor: Mapped[str]
    target: Mapped[str] = mapped_column(server_default="")
    subject: Mapped[Id]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    state: Mapped[str] = mapped_column(server_default="ready")
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    deaths: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    failures: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    run_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    dispatched_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    lease_token: Mapped[int | None] = mapped_column(BigInteger)
    owner: Mapped[str | None]
    """`host/pid/…`, for people."""
    owner_number: Mapped[int | None]
    """On which the owner holds an advisory lock (`owners.sql`)."""
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("event_id", "actor", "target"),
        CheckConstraint(f"state in ({', '.join(repr(state) for state in STATES)})", name="state"),
        Index(
            "ix_tasks_ready",
            "queue",
            "organization_id",
            "priority",
            "run_at",
            "id",
            postgresql_where=text("state = 'ready'"),
        ),
        Index(
            "ix_tasks_open",
            "state",
            "queue",
            "dispatched_at",
            "lease_until",
            postgresql_where=text("state in ('dispatched', 'running')"),
        ),
        Index("ix_tasks_dead", "organization_id", "id", postgresql_where=text("state = 'dead'")),
        Index("ix_tasks_dead_in_order", text("(id + 0)"), postgresql_where=text("state = 'dead'")),
        Index("ix_tasks_done", "ended_at", postgresql_where=text("state in ('done', 'cancelled')")),
    )


class Backlog(Base):
    """An organization that has too much waiting (`backlogs.sql`); of `org_system`: the whole installation has."""

    __tablename__ = "backlogs"

    organization_id: Mapped[OrganizationKey]
    seconds: Mapped[float] = mapped_column(Double)
    measured_at: Mapped[datetime]

    __table_args__ = ({"prefixes": ["UNLOGGED"]},)


class QueueTurn(Base):
    """How far an organization has come in a queue (`dispatch.sql`). Unlogged: after a crash all begin anew together."""

    __tablename__ = "queue_turns"

    organization_id: Mapped[OrganizationKey]
    queue: Mapped[str] = mapped_column(primary_key=True)
    turn: Mapped[float] = mapped_column(Double)

    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}},)
