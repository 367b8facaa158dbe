"""Making images."""

from domain.generations import batches, engines, lifecycle
from queue_config import queues
from workers.actor import Batch, actor

render = actor(
    lifecycle.RENDER,
    queue=queues.IMAGES,
    prepare=lifecycle.start,
    work=engines.render,
    record=lifecycle.finish,
    batch=Batch(prepare=batches.start, fits=batches.fits, record=batches.record, says=True, claim=batches.CLAIM),
)
abandon = actor("generations.abandon", queue=queues.LIFECYCLE, prepare=lifecycle.abandon)
withdraw = actor("generations.withdraw", queue=queues.LIFECYCLE, prepare=lifecycle.withdraw)
