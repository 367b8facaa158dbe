"""Imports every module's tables, for alembic and for tests that look at all of them."""

from domain.accounts import models as accounts
from domain.api_keys import models as api_keys
from domain.audit import models as audit
from domain.dead_letters import models as dead_letters
from domain.events import models as events
from domain.files import models as files
from domain.generations import models as generations
from domain.idempotency import models as idempotency
from domain.notifications import models as notifications
from domain.subscriptions import models as subscriptions
from domain.tasks import models as tasks
from domain.upkeep import models as upkeep
from domain.webhooks import models as webhooks
from runtime.orm import Base

MODULES = (
    accounts, api_keys, audit, dead_letters, events, files, generations, idempotency, notifications, subscriptions,
    tasks, upkeep, webhooks,
)  # fmt: skip
metadata = Base.metadata
