"""Who may do what, as it was decided: the gate compares the database with these lists. A new table, right or function
with its owner's powers is a decision, and is written here with the migration that makes it.
"""

from typing import Final

INSTALLATION: Final = {"alembic_version", "plans", "product_clock", "schedule_ticks"}
"""Tables that belong to nobody's organization."""

ALL: Final = "select, insert, update, delete"

APP_MAY: Final = {
    "alembic_version": "select",
    "api_keys": "select, insert, update",
    "assets": "select, insert",
    "audit_entries": "select, insert",
    "bulk_decisions": "select, insert",
    "bulk_operations": "select, insert, update",
    "credit_accounts": "select, update",
    "credit_entries": "select, insert",
    "deliveries": ALL,
    "delivery_attempts": "select, insert, delete",
    "events": "select, insert",
    "feed": "select",
    "feed_horizons": "select",
    "files": "select, insert, delete",
    "generations": "select, insert, update",
    "idempotency_keys": "select, insert, update(body), update(status)",
    "notifications": "select, insert, update",
    "organizations": "select, update",
    "pending_events": "insert",
    "plans": "select",
    "product_clock": "select",
    "tasks": "select, update",
    "webhook_endpoints": ALL,
}
SYSTEM_MAY: Final = {
    "alembic_version": "select",
    "api_keys": ALL,
    "assets": ALL,
    "audit_entries": "select, insert",
    "backlogs": ALL,
    "bulk_decisions": ALL,
    "bulk_operations": ALL,
    "credit_accounts": ALL,
    "credit_entries": "select, insert",
    "deliveries": ALL,
    "delivery_attempts": ALL,
    "events": "select, insert, delete",
    "feed": "select, insert, delete",
    "feed_horizons": ALL,
    "files": ALL,
    "generations": ALL,
    "idempotency_keys": ALL,
    "notifications": ALL,
    "organizations": ALL,
    "pending_events": ALL,
    "plans": ALL,
    "product_clock": ALL,
    "queue_turns": ALL,
    "schedule_ticks": ALL,
    "set_aside_events": ALL,
    "tasks": ALL,
    "webhook_endpoints": ALL,
}
SEQUENCES: Final = dict.fromkeys(("feed_position", "lease_tokens", "owner_numbers"), "atelier_system")
"""The only ones that may be drawn from by a process, and by which role."""

WITH_POWERS_OF_THEIR_OWNER: Final = {"authenticate_key", "dispatch_at_once", "touch_keys"}
"""SECURITY DEFINER functions: each looks at several organizations and gives back no more than it must."""

APP_CALLS: Final = {
    "accept_and_dispatch", "accept_generation", "accept_generations", "append_task_died", "authenticate_key",
    "bury_task", "dispatch_at_once", "new_id", "touch_keys",
}  # fmt: skip
SYSTEM_CALLS: Final = {
    "append_task_died", "authenticate_key", "claim_and_start", "claim_tasks", "current_backlogs",
    "dispatch_at_once", "dispatch_queue", "draw_owner_number",
    "expand_batch", "expand_events", "feed_after", "find_images", "give_back_tasks", "keep_bodies", "latest_ticks",
    "load_deliveries", "lost_owners", "mail_targets", "mark_endpoint_slow", "new_id", "note_deaths", "note_ticks",
    "organization_shares", "prune_attempts", "prune_bulk_operations", "prune_deliveries", "prune_idempotency_keys",
    "prune_log", "prune_notifications", "prune_tasks", "prune_ticks", "publish_backlogs", "record_deliveries",
    "record_and_tell_images", "record_images", "recover_orphans", "recover_tasks", "relay_step",
    "renew_leases", "resend_unclaimed", "sample_assets", "sample_backlogs",
    "sample_dead_letters", "sample_events", "sample_tasks", "schedule_state", "start_generations",
    "struggling_deliveries", "touch_keys", "undispatch_tasks", "unreferenced_objects", "webhook_targets",
}  # fmt: skip
