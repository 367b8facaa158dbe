"""What the installation does for itself."""

from domain.upkeep import leftovers, retention, storage_check
from queue_config import queues
from workers.actor import actor

sweep = actor("upkeep.sweep", queue=queues.UPKEEP, prepare=retention.begin, work=retention.sweep)
prune = actor("upkeep.prune", queue=queues.UPKEEP, prepare=retention.begin, work=retention.prune)
collect = actor("upkeep.collect", queue=queues.UPKEEP, prepare=retention.begin, work=leftovers.collect)
check_storage = actor("upkeep.check_storage", queue=queues.UPKEEP, prepare=retention.begin, work=storage_check.check)
