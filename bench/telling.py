"""What a measurement is at, said to whoever watches it."""

import sys
import time
from collections.abc import Callable

Tell = Callable[[str], None]


def from_now() -> Tell:
    """On standard error, each line with the seconds since this call."""
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    return tell


def silent(_line: str) -> None:
    """For what would say too much."""
