"""Row-level security on every tenant table, and what each role may do.

Revision: 0002, after: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What atelier_app may do with each tenant table; everything else is refused by PostgreSQL.
APP_MAY = {
    "api_keys": "select, insert, update",
    "assets": "select, insert",
    "audit_entries": "select, insert",
    "backlogs": "",
    "bulk_decisions": "select, insert",
    "bulk_operations": "select, insert, update",
    "credit_accounts": "select, update",
    "credit_entries": "select, insert",
    "deliveries": "select, insert, update, delete",
    "delivery_attempts": "select, insert, delete",
    "events": "select, insert",
    "feed": "select",
    "feed_horizons": "select",
    "files": "select, insert, delete",
    "generations": "select, insert, update",
    "idempotency_keys": "select, insert, update (status, body)",
    "notifications": "select, insert, update",
    "organizations": "select, update",
    "pending_events": "insert",
    "queue_turns": "",
    "set_aside_events": "",
    "tasks": "select, update",
    "webhook_endpoints": "select, insert, update, delete",
}
# Facts and the audit trail are never changed, by nobody.
SYSTEM_MAY = {
    "events": "select, insert, delete",
    "audit_entries": "select, insert",
    "feed": "select, insert, delete",
    "credit_entries": "select, insert",
}


def upgrade() -> None:
    op.execute("revoke create on schema public from public")
    op.execute("grant usage on schema public to atelier_app, atelier_system")
    for table, app_may in APP_MAY.items():
        protect(table, app_may, SYSTEM_MAY.get(table, "select, insert, update, delete"))
    op.execute("grant select on alembic_version to atelier_app, atelier_system")
    op.execute("grant select on plans, product_clock to atelier_app")
    op.execute("grant select, insert, update, delete on plans, product_clock, schedule_ticks to atelier_system")
    op.execute("grant usage on sequence feed_position, lease_tokens, owner_numbers to atelier_system")
    op.execute("insert into product_clock default values")


def protect(table: str, app_may: str, system_may: str) -> None:
    """After `set_config(…, true)` and a commit the setting is '' and not null, hence the nullif."""
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(
        f"create policy organization on {table} to atelier_app "
        "using (organization_id = nullif(current_setting('app.organization', true), ''))"
    )
    op.execute(f"create policy system on {table} to atelier_system using (true)")
    if app_may:
        op.execute(f"grant {app_may} on {table} to atelier_app")
    op.execute(f"grant {system_may} on {table} to atelier_system")
