"""Five bugs that systems of this kind are known to have, each planted in a database by editing its SQL, and the fault
that brings it to light.
"""

from typing import Final, Literal, NamedTuple

import msgspec

Fault = Literal["crash", "kill_relay", "kill_claimant", "kill_recorder", "freeze_recorder"]

_ONLY_OPEN: Final = "and (g.status in ('scheduled', 'queued', 'running')) is true"
_RUNNING: Final = "t.state = 'running'"
_TAKEN: Final = "(t.state = 'running' or t.state = 'done' and t.ended_at > now() - interval '10 s')"
_UNGUARDED: Final = (
    "drop index if exists ix_assets_organization_id_generation_id",
    "drop index if exists uq_credit_entries_hold_end",
)


class Edit(NamedTuple):
    """Of a function's text. It must stand there: a bug that cannot be planted any more is none."""

    function: str
    old: str
    new: str


class Bug(msgspec.Struct, frozen=True, kw_only=True):
    """`kinds` are those of the breaches by which the audit must find it."""

    name: str
    fault: Fault
    kinds: frozenset[str]
    edits: tuple[Edit, ...] = ()
    statements: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()


BUGS: Final = (
    Bug(  # what is to be done is noted beside the transaction that accepts it, and gone after a crash
        name="enqueue after commit, without a ledger",
        fault="crash",
        kinds=frozenset({"lost"}),
        statements=("alter table pending_events set unlogged",),
        undo=("alter table pending_events set logged",),
    ),
    Bug(  # what was marked sent is never sent again
        name="mark before publish",
        fault="kill_relay",
        kinds=frozenset({"lost"}),
        edits=(Edit("resend_unclaimed", "t.dispatched_at < now() - p_unclaimed", "false"),),
    ),
    Bug(  # whoever takes a task has it crossed off
        name="acknowledge before commit",
        fault="kill_claimant",
        kinds=frozenset({"lost"}),
        edits=(Edit("note_deaths", "case when suspect.guilty then 'dead' else 'ready' end", "'done'"),),
    ),
    Bug(  # what was recorded and not acknowledged is delivered again, and nothing is in the way of a second outcome
        name="no unique outcome",
        fault="kill_recorder",
        kinds=frozenset({"doubled", "overcharged"}),
        edits=(
            Edit("lost_owners", _RUNNING, _TAKEN),
            Edit("recover_orphans", f"({_RUNNING})", _TAKEN),
            Edit("recover_orphans", _RUNNING.replace("t.", "s."), _TAKEN.replace("t.", "s.")),
            Edit("start_generations", _ONLY_OPEN, ""),
            Edit("find_images", "where hashtextextended", "where false and hashtextextended"),
            Edit("record_images", _ONLY_OPEN, ""),
        ),
        statements=_UNGUARDED,
    ),
    Bug(  # who comes late writes what he has, whoever has had the task since
        name="a write that is not fenced",
        fault="freeze_recorder",
        kinds=frozenset({"doubled", "overcharged"}),
        edits=(
            Edit("record_images", "and t.lease_token = r.token", ""),
            Edit("record_images", "where t.state = 'running' order", "order"),
            Edit("record_images", _ONLY_OPEN, ""),
        ),
        statements=_UNGUARDED,
    ),
)
