"""What the processes of a round logged as errors: no proof of anything, but where to look next."""

import re
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

_NUMBERS: Final = re.compile(r"\[[^]]*\]|\d+")


class _Line(msgspec.Struct):
    level: str
    message: str
    process: str
    exception: str = ""


_decode = msgspec.json.Decoder(_Line).decode


def of(folder: Path) -> Counter[str]:
    """By process and message, numbers left out; with the last line of the traceback."""
    found: Counter[str] = Counter()
    for path in folder.glob("*.log"):
        for text in path.read_bytes().splitlines():
            try:
                line = _decode(text)
            except msgspec.MsgspecError:  # what is no line of ours: the servers', or cut off by a kill
                continue
            if line.level in {"error", "critical"}:
                found[_summary(line)] += 1
    return found


def _summary(line: _Line) -> str:
    cause = line.exception.strip().rpartition("\n")[2]
    said = f"{line.process.partition('/')[0]}: {line.message}" + (f" ({cause})" if cause else "")
    return _NUMBERS.sub("…", " ".join(said.split()))[:160]
