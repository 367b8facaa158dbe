"""Each kind of harm that the nemesis knows, how often it is drawn, and the plan that a seed makes of them.

`kill` is SIGKILL, `stop` SIGTERM, `freeze` SIGSTOP until leases and the lead have ended. `end` is an operator's
pg_terminate_backend or CLIENT KILL. On a link (`proxy.Link`): `cut` resets what is open and may refuse what is new for
a while, `hold` lets nothing pass and delivers it late, `slow` delays, `drip` lets a few bytes pass at a time,
`half-open` tells only one end, `lose` swallows the very answers that tell of a commit (from the receiver: any answer).
`fill` leaves no space on the disk of the images, `skew` turns one process's clock by two minutes.
"""

import random
from collections.abc import Iterable
from typing import Final, NamedTuple

KINDS: Final = {
    "kill api": 3,
    "kill relay": 3,
    "kill worker-images": 3,
    "kill worker-io": 3,
    "kill render child": 2,
    "kill redis": 2,
    "kill postgres": 2,
    "kill backend": 1,
    "end backends": 2,
    "end redis": 2,
    "flush redis": 3,
    "stop worker-images": 1,
    "stop worker-io": 1,
    "freeze api": 1,
    "freeze relay": 1,
    "freeze worker-images": 1,
    "freeze worker-io": 1,
    "freeze render child": 1,
    "freeze backend": 1,
    "lose api": 2,
    "lose relay": 2,
    "lose worker-images": 2,
    "lose worker-io": 2,
    "lose claims": 2,
    "lose heartbeat": 1,
    "lose receiver": 2,
    "cut postgres": 2,
    "cut redis": 2,
    "cut receiver": 1,
    "hold postgres": 1,
    "hold redis": 1,
    "hold receiver": 1,
    "slow postgres": 1,
    "slow redis": 1,
    "drip postgres": 1,
    "drip receiver": 1,
    "half-open postgres": 1,
    "half-open redis": 1,
    "fill disk": 1,
    "skew api": 1,
    "skew relay": 1,
    "skew worker-images": 1,
    "skew worker-io": 1,
}
"""With how often each is drawn."""

APPLICATIONS: Final = {
    "api": "atelier-api",
    "relay": "atelier-relay",
    "worker-images": "atelier-images",
    "worker-io": "atelier-io",
    "claims": "atelier-claims",
    "heartbeat": "atelier-heartbeat",
    "receiver": "",
}
"""What `lose` waits for: how our processes call themselves before PostgreSQL."""


class Blow(NamedTuple):
    """`pause` seconds after the one before. `luck`, from 0 to 1, decides what a kind leaves open: whom, how much."""

    pause: float
    name: str
    luck: float

    @property
    def verb(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def target(self) -> str:
        return self.name.partition(" ")[2]

    def between(self, least: float, most: float) -> float:
        return least + self.luck * (most - least)


def plan(seed: int, seconds: float, gap: float, broker: str, *, without: Iterable[str] = ()) -> list[Blow]:
    """For `seconds`, one blow each `gap` on average: each kind in turn first, then what is drawn. `without` names verbs
    that this machine cannot do; else the same ones for any broker.
    """
    drawing = random.Random(f"nemesis {seed}")
    kinds = {name: weight for name, weight in KINDS.items() if name.partition(" ")[0] not in without}
    names = drawing.sample(list(kinds), len(kinds))
    names += drawing.choices(list(kinds), weights=list(kinds.values()), k=1 + int(2 * seconds / gap))
    blows, elapsed = [], 0.0
    for name in names:
        blow = Blow(drawing.uniform(0.5 * gap, 1.5 * gap), name.replace("redis", broker), drawing.random())
        elapsed += blow.pause
        if elapsed > seconds:
            break
        blows.append(blow)
    return blows
