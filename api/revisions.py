"""ETag and If-Match of what is edited (RFC 9110, 8.8.3 and 13.1.1): the tag is the number of the revision."""

import re
from typing import Annotated

from litestar.params import HeaderParameter

IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="The ETag that was read; 412 when it was changed since."),
]

_ENTRY = re.compile(r'(W/)?"([0-9]{1,9})"')


def tag(revision: int) -> str:
    return f'"{revision}"'


def named(if_match: str | None) -> frozenset[int] | None:
    """The revisions that the header names; None when any will do. Weak tags never match here, as the RFC asks."""
    if if_match is None or if_match.strip() == "*":
        return None
    return frozenset(int(revision) for weak, revision in _ENTRY.findall(if_match) if not weak)
