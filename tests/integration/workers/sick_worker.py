"""`python -m … grow|lose_a_consumer`: an images worker that falls sick as it takes its first message."""

import sys

from cli import main
from queue_config.base import HeldMessage, QueueConsumer

held: list[bytes] = []
read = QueueConsumer._read


def grow(consumer: QueueConsumer) -> HeldMessage | None:
    message = read(consumer)
    if message is not None:
        held.extend(b"x" * (1 << 20) for _ in range(300))
    return message


def lose_a_consumer(consumer: QueueConsumer) -> HeldMessage | None:
    """Ends its thread without a word."""
    if (message := read(consumer)) is not None:
        raise SystemExit
    return message


QueueConsumer._read = {"grow": grow, "lose_a_consumer": lose_a_consumer}[sys.argv[1]]  # type: ignore[method-assign]
sys.exit(main.main(["worker", "--group", "images"]))
