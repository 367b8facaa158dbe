"""How a process of ours ends, said by its exit status, so that whoever starts it anew can say why."""

import enum
import signal
from typing import Final


class Ending(enum.IntEnum):
    """The numbers of sysexits.h that come nearest; 2 is for what a person has to put right (`cli/main.py`)."""

    ASKED = 0
    HUNG = 70
    BROKEN = 71
    GROWN = 75


_MEANINGS: Final = {
    Ending.HUNG: "it hung",
    Ending.BROKEN: "a part of it had died",
    Ending.GROWN: "it had grown too large",
}


def told(status: int) -> str:
    """As `Popen.returncode` has it: negative for a signal."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    meaning = _MEANINGS.get(Ending(status)) if status in set(Ending) else None
    return f"ended with status {status}" + (f" ({meaning})" if meaning else "")
