"""A leading relay that is frozen, and one whose statements PostgreSQL refuses."""

import signal
from pathlib import Path

import asyncpg
import pytest

from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, relay_process, running, until
from workers import relay
from workers.relay import Relay

ACCEPTED = "where type = 'generation.accepted'"
LEADERS = """select count(*) from pg_locks where locktype = 'advisory' and granted and objid = (
    select hashtext('atelier.relay')::bit(32)::bigint::oid)
    and database = (select oid from pg_database where datname = current_database())"""


async def test_a_standby_takes_over_from_a_leader_that_is_frozen_and_no_position_is_given_twice(
    spine: Spine, tmp_path: Path
) -> None:
    async def leads() -> bool:
        return bool(await spine.value(LEADERS))

    broker = Recording()
    with relay_process(spine, tmp_path) as (process, log):
        await until(leads, seconds=30)
        async with running(spine, broker) as standby:
            await spine.accept()
            await until(lambda: _is(spine, f"select count(*) = 1 from feed {ACCEPTED}"))
            process.send_signal(signal.SIGSTOP)
            await spine.accept()
            await until(lambda: _true(standby.leading))
            await until(lambda: _true(bool(broker.sent)))
            process.send_signal(signal.SIGCONT)
            await until(lambda: _true("the relay lost the database" in log.read_text()))
            for _ in range(5):
                await spine.accept()
            await until(lambda: _is(spine, f"select count(*) = 7 from feed {ACCEPTED}"))
            assert await spine.value(LEADERS) == 1
            assert standby.leading
    assert process.returncode == -signal.SIGKILL, "it was still alive, standing by"
    assert await spine.value("select count(distinct position) = count(*) from feed")
    assert await spine.value("select count(distinct event_id) = count(*) from feed")


async def test_what_postgresql_refuses_is_not_called_a_lost_database_and_the_relay_says_that_it_ails(
    spine: Spine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(relay, "FIRST_REST", 0.02)
    step = relay.STEP
    monkeypatch.setattr(relay, "STEP", step.replace("relay_step(", "relay_step_of_a_later_release("))
    async with running(spine, Recording()) as made:
        await until(lambda: _true(made.ailment() is not None))
        assert made.ailment() == "PostgreSQL refuses the relay's work: UndefinedFunctionError (42883)"
        said: list[str] = []

        async def both_rests_are_told() -> bool:
            said.append(capsys.readouterr().out)
            return all(f"rest={seconds}" in "".join(said) for seconds in (0.02, 0.04))

        await until(both_rests_are_told)
        assert "relay_step_of_a_later_release" in "".join(said)
        assert "lost the database" not in "".join(said)
        monkeypatch.setattr(relay, "STEP", step)
        await until(lambda: _true(made.ailment() is None))
        assert made.leading


async def test_a_connection_that_the_event_loop_calls_closed_is_a_lost_one(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, serve = [RuntimeError("unable to perform operation; the handler is closed")], Relay._serve

    async def broken_at_first(self: Relay) -> None:
        if faults:
            raise faults.pop()
        await serve(self)

    monkeypatch.setattr(Relay, "_serve", broken_at_first)
    async with running(spine, Recording()) as made:
        await until(lambda: _true(made.leading))
    faults.append(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        async with running(spine, Recording()):
            await until(lambda: _true(not faults))


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (asyncpg.AdminShutdownError, True),
        (asyncpg.IdleSessionTimeoutError, True),
        (asyncpg.DeadlockDetectedError, True),
        (asyncpg.LockNotAvailableError, True),
        (asyncpg.UndefinedFunctionError, False),
        (asyncpg.InsufficientPrivilegeError, False),
        (asyncpg.InvalidTextRepresentationError, False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(error: type[asyncpg.PostgresError], passes: bool) -> None:
    assert relay._passes(error("")) is passes


async def _is(spine: Spine, query: str) -> bool:
    return bool(await spine.value(query))


async def _true(value: bool) -> bool:
    return value
