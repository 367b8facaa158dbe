"""What a check is told, and what it says."""

import asyncio
from collections.abc import Awaitable
from typing import Final, Literal

import msgspec

from cli.contract import Contract
from runtime.settings import Settings
from runtime.telemetry import scrubbing

PATIENCE: Final = 20.0
"""Seconds for one check."""

State = Literal["good", "note", "bad"]
"""A note is worth knowing and breaks nothing."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at: settings, completed by what runs here. Without `settings.database_url` there is no database to
    look at yet.
    """

    settings: Settings
    running: Contract | None


class Finding(msgspec.Struct, frozen=True):
    part: str
    state: State
    says: str
    advice: str = ""


def good(part: str, says: str) -> Finding:
    return Finding(part, "good", says)


def note(part: str, says: str, advice: str = "") -> Finding:
    return Finding(part, "note", says, advice)


def bad(part: str, says: str, advice: str) -> Finding:
    return Finding(part, "bad", says, advice)


async def guarded(
    part: str, check: Awaitable[list[Finding]], settings: Settings, advice: str = "see the error"
) -> list[Finding]:
    """A check that fails by itself is a finding too; the error's text is shown without secrets."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await check
    except TimeoutError:
        return [bad(part, f"no answer within {PATIENCE:g} s", advice)]
    except Exception as error:  # noqa: BLE001 - whatever is broken is what is looked for
        text = scrubbing.of_settings(settings).text(str(error)).partition("\n")[0]
        return [bad(part, f"{text} ({type(error).__name__})" if text else type(error).__name__, advice)]
