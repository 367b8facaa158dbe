"""The tables of the spine.

Revision: 0001, after: nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("feed_position")))
    op.execute(sa.schema.CreateSequence(sa.Sequence("lease_tokens")))
    op.execute(sa.schema.CreateSequence(sa.Sequence("owner_numbers")))
    op.create_table(
        "audit_entries",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_audit_entries")),
    )
    op.create_table(
        "backlogs",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_backlogs")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "bulk_decisions",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("operation_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("outcome in ('replayed', 'discarded', 'refused')", name=op.f("ck_bulk_decisions_outcome")),
        sa.PrimaryKeyConstraint("organization_id", "operation_id", "task_id", name=op.f("pk_bulk_decisions")),
    )
    op.create_index(
        op.f("ix_bulk_decisions_operation_id_decided_at"),
        "bulk_decisions",
        ["operation_id", "decided_at"],
        unique=False,
    )
    op.create_table(
        "bulk_operations",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("action in ('replay', 'discard')", name=op.f("ck_bulk_operations_action")),
        sa.CheckConstraint(
            "status in ('running', 'completed', 'cancelled', 'failed')", name=op.f("ck_bulk_operations_status")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_bulk_operations")),
    )
    op.create_table(
        "events",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("correlation_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("causation_id", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_organization_id_subject"), "events", ["organization_id", "subject"], unique=False)
    op.create_table(
        "feed",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=64, collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "position", name=op.f("pk_feed")),
    )
    op.create_index("uq_feed_position", "feed", [sa.literal_column("(position + 0)")], unique=True)
    op.create_index(
        op.f("ix_feed_organization_id_subject_position"),
        "feed",
        ["organization_id", "subject", "position"],
        unique=False,
    )
    op.create_table(
        "feed_horizons",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_feed_horizons")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("event_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_notifications")),
        sa.UniqueConstraint(
            "organization_id",
            "event_id",
            "channel",
            "recipient",
            name=op.f("uq_notifications_organization_id_event_id_channel_recipient"),
        ),
    )
    op.create_table(
        "pending_events",
        sa.Column("event_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_pending_events")),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("monthly_credits", sa.Integer(), nullable=False),
        sa.Column("price_amount", sa.Integer(), nullable=False),
        sa.Column("price_currency", sa.Text(), nullable=False),
        sa.Column("reuse_is_free", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.SmallInteger(), nullable=False),
        sa.Column("images_at_once", sa.Integer(), nullable=False),
        sa.Column("images_queued", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
    )
    op.create_table(
        "product_clock",
        sa.Column("id", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("offset_seconds", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_clock")),
    )
    op.create_table(
        "queue_turns",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("turn", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "queue", name=op.f("pk_queue_turns")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "schedule_ticks",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("tick", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_tick", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("noted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "tick", name=op.f("pk_schedule_ticks")),
    )
    op.create_table(
        "set_aside_events",
        sa.Column("event_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("set_aside_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_set_aside_events")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("event_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("deaths", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("failures", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("owner_number", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state in ('ready', 'dispatched', 'running', 'done', 'dead', 'cancelled')", name=op.f("ck_tasks_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("event_id", "actor", "target", name=op.f("uq_tasks_event_id_actor_target")),
    )
    op.create_index(
        "ix_tasks_dead", "tasks", ["organization_id", "id"], unique=False, postgresql_where=sa.text("state = 'dead'")
    )
    op.create_index(
        "ix_tasks_dead_in_order",
        "tasks",
        [sa.literal_column("(id + 0)")],
        unique=False,
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_tasks_done", "tasks", ["ended_at"], unique=False, postgresql_where=sa.text("state in ('done', 'cancelled')")
    )
    op.create_index(
        "ix_tasks_open",
        "tasks",
        ["state", "queue", "dispatched_at", "lease_until"],
        unique=False,
        postgresql_where=sa.text("state in ('dispatched', 'running')"),
    )
    op.create_index(
        "ix_tasks_ready",
        "tasks",
        ["queue", "organization_id", "priority", "run_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_table(
        "organizations",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("notify_email", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["plan"], ["plans.id"], name=op.f("fk_organizations_plan_plans")),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "api_keys",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("environment", sa.Text(), server_default="live", nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_api_keys_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
    )
    op.create_table(
        "credit_accounts",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("available >= 0", name=op.f("ck_credit_accounts_available")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_credit_accounts_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_credit_accounts")),
    )
    op.create_table(
        "files",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name=op.f("fk_files_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_files")),
        sa.Index(op.f("ix_files_storage_key"), "storage_key", postgresql_using="hash"),
    )
    op.create_table(
        "generations",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("price", sa.Integer(), nullable=False),
        sa.Column("hold_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("reused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("charged", sa.Integer(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('scheduled', 'queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_generations_status"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_generations_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_generations")),
    )
    op.create_index(
        op.f("ix_generations_organization_id_project_id"),
        "generations",
        ["organization_id", "project", "id"],
        unique=False,
        postgresql_where=sa.text("project is not null"),
    )
    op.create_index(
        op.f("ix_generations_organization_id_status_id"),
        "generations",
        ["organization_id", "status", "id"],
        unique=False,
        postgresql_include=["price"],
    )
    op.create_index(
        "ix_generations_scheduled",
        "generations",
        ["organization_id", "run_at"],
        unique=False,
        postgresql_where=sa.text("status = 'scheduled'"),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default="enabled", nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slow_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_webhook_endpoints_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_table(
        "assets",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("generation_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "generation_id"],
            ["generations.organization_id", "generations.id"],
            name=op.f("fk_assets_organization_id_generation_id_generations"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_assets")),
    )
    op.create_index(
        op.f("ix_assets_organization_id_generation_id"), "assets", ["organization_id", "generation_id"], unique=True
    )
    op.create_index(op.f("ix_assets_organization_id_identity"), "assets", ["organization_id", "identity"], unique=False)
    op.create_index(op.f("ix_assets_storage_key"), "assets", ["storage_key"], unique=False, postgresql_using="hash")
    op.create_table(
        "credit_entries",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_account", sa.Text(), nullable=False),
        sa.Column("to_account", sa.Text(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("hold_id", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("generation_id", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(kind, from_account, to_account) in (('grant', 'granted', 'available'), ('hold', 'available', 'held'), ('settle', 'held', 'spent'), ('release', 'held', 'available'))",  # noqa: E501 - one constraint
            name=op.f("ck_credit_entries_accounts"),
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_credit_entries_amount")),
        sa.ForeignKeyConstraint(
            ["organization_id", "generation_id"],
            ["generations.organization_id", "generations.id"],
            name=op.f("fk_credit_entries_organization_id_generation_id_generations"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_credit_entries")),
    )
    op.create_index(
        op.f("ix_credit_entries_organization_id_generation_id"),
        "credit_entries",
        ["organization_id", "generation_id"],
        unique=False,
    )
    op.create_index(
        "uq_credit_entries_hold_end",
        "credit_entries",
        ["organization_id", "hold_id"],
        unique=True,
        postgresql_where=sa.text("kind in ('settle', 'release')"),
    )
    op.create_table(
        "deliveries",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("event_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "endpoint_id"],
            ["webhook_endpoints.organization_id", "webhook_endpoints.id"],
            name=op.f("fk_deliveries_organization_id_endpoint_id_webhook_endpoints"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "organization_id",
            "event_id",
            "endpoint_id",
            name=op.f("uq_deliveries_organization_id_event_id_endpoint_id"),
        ),
    )
    op.create_index(
        op.f("ix_deliveries_organization_id_endpoint_id_id"),
        "deliveries",
        ["organization_id", "endpoint_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_deliveries_organization_id_status_id"),
        "deliveries",
        ["organization_id", "status", "id"],
        unique=False,
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("organization_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("delivery_id", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response_body", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "delivery_id"],
            ["deliveries.organization_id", "deliveries.id"],
            name=op.f("fk_delivery_attempts_organization_id_delivery_id_deliveries"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_delivery_attempts")),
    )
    op.create_index(
        op.f("ix_delivery_attempts_organization_id_delivery_id_id"),
        "delivery_attempts",
        ["organization_id", "delivery_id", "id"],
        unique=False,
    )
