"""What may be written down of an error. Texts of our own errors hold no customer's data; those of others (PostgreSQL's
quote the row, a decoder's the document) may, so that of these only the type and the SQLSTATE are kept.
"""

import traceback
from typing import Final

from runtime import database_faults

_OURS: Final = frozenset({"domain", "runtime", "storage", "queue_config", "workers"})
_LIBRARIES: Final = "site-packages"


def reason(error: BaseException) -> str:
    """One line, such as `IntegrityError (23505)` or `FailpointError: worker.before_record`."""
    kind = type(error)
    if kind.__module__.partition(".")[0] in _OURS:
        return f"{kind.__name__}: {error}"
    state = database_faults.sqlstate(error)
    return f"{kind.__name__} ({state})" if state else kind.__name__


def frames(error: BaseException) -> list[str]:
    """Where it was raised, innermost last, and of what it was caused: lines of our own code, and the last of all."""
    found = []
    cause: BaseException | None = error
    while cause is not None:
        stack = traceback.extract_tb(cause.__traceback__)
        ours = [frame for frame in stack[:-1] if _LIBRARIES not in frame.filename]
        found.append(reason(cause))
        found += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in (*ours, *stack[-1:])]
        cause = cause.__cause__
    return found
