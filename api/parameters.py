"""Headers that several routes take."""

from typing import Annotated

from litestar.params import HeaderParameter

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="1 to 255 printable characters of your choice. The same request under the same key is done once; "
        "repeating it gives the first answer again.",
    ),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(
        name="Prefer", description="`wait=10` answers at the end of the work, or after ten seconds (60 at most)."
    ),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", description="The id of the last event seen; what came after it is sent."),
]
IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="Answers 304 when the ETag is still the same.")
]
