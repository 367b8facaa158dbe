"""Harm without end, until enough was seen: minute by minute random blows, and kills at failpoints in turn."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bench.faults import cases, harms
from bench.faults.cases import MIGRATE, Case, Hit, Lanes
from bench.faults.harms import Blow
from bench.faults.nemesis import Nemesis

SPELL: Final = 60.0
"""Seconds of one plan; then it is looked how far it has come."""
GAP: Final = 4.0
AT_FAILPOINTS: Final = 8
"""Kills in one spell."""


class Goals(msgspec.Struct, frozen=True, kw_only=True):
    """What must be seen, within so many minutes. `ambiguous`: commits whose answer is lost."""

    jobs: int = 20_000
    kills: int = 300
    flushes: int = 20
    ambiguous: int = 200
    minutes: float = 90


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    jobs: int
    kills: int
    flushes: int
    ambiguous: int

    def lacking(self, goals: Goals) -> list[str]:
        return [name for name in self.__struct_fields__ if getattr(self, name) < getattr(goals, name)]


def seen(jobs: int, blows: Counter[str]) -> Seen:
    def of(*verbs: str) -> int:
        return sum(count for name, count in blows.items() if name.startswith(verbs))

    return Seen(jobs=jobs, kills=of("kill", "poison"), flushes=of("flush"), ambiguous=of("lost commit"))


Spell = tuple[list[Blow], list[Case]]


async def lay(
    goals: Goals,
    look: Callable[[], Seen],
    spells: "Spells",
    nemesis: Nemesis,
    lanes: Lanes,
    tell: Callable[[str], None],
) -> list[Hit]:
    """What was hit."""
    hits: list[Hit] = []
    ends = time.monotonic() + goals.minutes * 60
    while (lacking := (now := look()).lacking(goals)) and time.monotonic() < ends:
        tell(", ".join(f"{getattr(now, name)} of {getattr(goals, name)} {name}" for name in now.__struct_fields__))
        blows, wanted = spells.light() if lacking == ["jobs"] else spells.heavy()
        _, hit = await asyncio.gather(nemesis.strike(blows), lanes.carry_out(wanted))
        hits += hit
    return hits


class Spells:
    """Drawn one after the other; `without` names verbs that this machine cannot do."""

    def __init__(self, seed: int, broker: str, without: Sequence[str]) -> None:
        self._drawing = random.Random(f"siege {seed}")
        self._broker = broker
        self._without = without
        self._kills: list[Case] = []

    def heavy(self) -> Spell:
        """Random harm, with more of what the goals count among it."""
        blows = self._plan(GAP)
        for name in (f"flush {self._broker}", "lose api", "lose worker-images", "lose claims", "lose relay"):
            blow = Blow(self._drawing.uniform(0.5, 1.5), name, self._drawing.random())
            blows.insert(self._drawing.randrange(len(blows)), blow)
        return blows, self._next(AT_FAILPOINTS)

    def light(self) -> Spell:
        """When nothing is lacking but jobs."""
        return self._plan(4 * GAP), self._next(AT_FAILPOINTS // 4)

    def _plan(self, gap: float) -> list[Blow]:
        return harms.plan(self._drawing.randrange(1 << 30), SPELL, gap, self._broker, without=self._without)

    def _next(self, count: int) -> list[Case]:
        """Kills at each failpoint in turn, everywhere, in any order."""
        if len(self._kills) < count:
            every = [
                case for case in cases.cases(0, everywhere=True) if case.action == "kill" and case.process != MIGRATE
            ]
            self._kills += self._drawing.sample(every, len(every))
        return [self._kills.pop() for _ in range(count)]
