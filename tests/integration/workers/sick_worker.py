"""`python -m … grow|lose_a_consumer`: an images worker that falls sick as it takes its first message."""

import sys
from collections.abc import Callable

from cli import main
from queue_config.base import HeldMessage, QueueConsumer, Taken

held: list[bytes] = []
read = QueueConsumer._read
Pop = Callable[[], Taken | None]


def grow(consumer: QueueConsumer, pop: Pop) -> HeldMessage | None:
    message = read(consumer, pop)
    if message is not None:
        held.extend(b"x" * (1 << 20) for _ in range(300))
    return message


def lose_a_consumer(consumer: QueueConsumer, pop: Pop) -> HeldMessage | None:
    """Ends its thread without a word."""
    if (message := read(consumer, pop)) is not None:
        raise SystemExit
    return message


QueueConsumer._read = {"grow": grow, "lose_a_consumer": lose_a_consumer}[sys.argv[1]]  # type: ignore[method-assign]
sys.exit(main.main(["worker", "--group", "images"]))
