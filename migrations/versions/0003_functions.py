"""The SQL functions of the spine, each kept beside the module whose rules it carries.

Revision: 0003, after: 0002
"""

from alembic import op

from migrations import functions

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FILES = (
    "domain/events/ids.sql",
    "domain/events/feed.sql",
    "domain/webhooks/targets.sql",
    "domain/webhooks/lanes.sql",
    "domain/notifications/targets.sql",
    "domain/tasks/expansion.sql",
    "domain/tasks/owners.sql",
    "domain/tasks/recovery.sql",
    "domain/subscriptions/shares.sql",
    "domain/tasks/dispatch.sql",
    "domain/tasks/backlogs.sql",
    "domain/tasks/claims.sql",
    "domain/tasks/dead_letters.sql",
    "domain/generations/accept.sql",
    "domain/generations/accept_many.sql",
    "domain/generations/batches.sql",
    "domain/webhooks/batches.sql",
    "domain/upkeep/ticks.sql",
    "domain/upkeep/retention.sql",
    "domain/upkeep/storage_check.sql",
    "domain/api_keys/authenticate.sql",
)
FOR_APP = (
    "new_id",
    "append_task_died",
    "bury_task",
    "accept_generation",
    "accept_generations",
    "authenticate_key",
    "touch_keys",
)
FOR_SYSTEM = (
    "new_id", "webhook_targets", "expand_batch", "expand_events", "append_task_died", "recover_tasks", "dispatch_queue",
    "relay_step", "sample_ledger", "sample_events", "claim_tasks", "renew_leases", "give_back_tasks",
    "authenticate_key", "feed_after", "start_generations", "find_images", "record_images", "load_deliveries",
    "keep_bodies", "record_deliveries", "mail_targets", "draw_owner_number", "lost_owners", "note_deaths",
    "recover_orphans", "organization_shares", "struggling_deliveries", "mark_endpoint_slow",
    "sample_backlogs", "publish_backlogs", "current_backlogs", "schedule_state", "note_ticks", "prune_tasks",
    "prune_idempotency_keys", "prune_deliveries", "prune_notifications", "prune_log", "prune_ticks", "sample_assets",
    "sample_dead_letters",
)  # fmt: skip
DEFINED_BY_SYSTEM = ("authenticate_key", "touch_keys")


def upgrade() -> None:
    for file in FILES:
        functions.load(file)
    op.execute("revoke execute on all functions in schema public from public")
    # A SECURITY DEFINER function must belong to the role whose policy sees every row; FORCE binds the owner too.
    op.execute("grant create on schema public to atelier_system")
    for name in DEFINED_BY_SYSTEM:
        op.execute(f"alter function {name} owner to atelier_system")
    op.execute("revoke create on schema public from atelier_system")
    for name in FOR_APP:
        op.execute(f"grant execute on function {name} to atelier_app")
    for name in FOR_SYSTEM:
        op.execute(f"grant execute on function {name} to atelier_system")
