"""The supervisor with a fork server: real processes, whose parent it stays."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from runtime import forking, forkserver
from runtime.forking import ForkServer
from runtime.processes import Process, Restart, StartError, Supervisor
from tests.integration.runtime import niceness
from tests.integration.runtime.waiting import eventually, is_alive

pytestmark = pytest.mark.skipif(not forkserver.possible(), reason="needs Linux on a machine whose clone(2) is known")

MODULE = "tests.integration.runtime.forked_child"
Make = Callable[..., Process]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(name: str, *arguments: str, **fields: object) -> Process:
        given = {"argv": (sys.executable, "-m", MODULE, name, *arguments), "log": tmp_path / name, "forked": True}
        return Process(**({"name": name} | given | fields))

    return build


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
async def supervisor(tmp_path: Path, lines: list[str]) -> AsyncIterator[Supervisor]:
    server = ForkServer()
    async with Supervisor(lines.append, forkserver=server) as supervisor:
        await supervisor.start(of(server, tmp_path))
        yield supervisor
    server.close()


def of(server: ForkServer, folder: Path, *modules: str) -> Process:
    return Process(
        name=forking.NAME,
        argv=(sys.executable, "-m", "runtime.forkserver", "colorsys", "runtime.ids", "tests.integration", *modules),
        log=folder / "forkserver.log",
        sockets=(server.theirs,),
        stop_signal=signal.SIGKILL,
        restart=Restart(first=0.01),
    )


def said(process: Process) -> list[dict[str, object]]:
    """By each life, when it began."""
    return [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]


def is_forked(life: dict[str, object]) -> bool:
    """It has the fork server's imports."""
    return bool(life["forked"])


async def test_a_forked_process_is_a_child_of_the_supervisor_in_a_session_of_its_own(
    supervisor: Supervisor, make: Make
) -> None:
    process = make("one", "and", "more", env={"MOOD": "dark"})
    await supervisor.start(process)
    (life,) = said(process)
    assert is_forked(life)
    assert life["pid"] == supervisor.pids()["one"]
    assert life["parent"] == os.getpid()
    assert life["session"] == life["pid"]
    assert life["arguments"] == ["one", "and", "more"]
    assert life["environment"] == ["MOOD", "NOTIFY_SOCKET"]
    assert life["descriptors"] == [0, 1, 2]


async def test_it_gives_way_as_one_that_was_started_by_itself(supervisor: Supervisor, make: Make) -> None:
    ours, our_session = niceness.own(os.getpid()), niceness.of_session(os.getpid())
    await supervisor.start(make("one", niceness=7))
    assert niceness.own(supervisor.pids()["one"]) == max(7, ours)
    assert niceness.of_session(supervisor.pids()["one"]) == (7 if niceness.of_sessions_is_kept() else None)
    assert niceness.of_session(os.getpid()) == our_session


async def test_what_is_random_differs_between_processes_of_one_origin(supervisor: Supervisor, make: Make) -> None:
    processes = [make("one"), make("two"), make("three")]
    await supervisor.start(*processes)
    lives = [said(process)[0] for process in processes]
    assert all(map(is_forked, lives))
    assert len({life["random"] for life in lives}) == 3
    assert len({life["id"][-10:] for life in lives}) == 3


async def test_it_is_seen_under_its_own_command(supervisor: Supervisor, make: Make) -> None:
    await supervisor.start(make("one"))
    assert psutil.Process(supervisor.pids()["one"]).cmdline()[1:] == ["-m", MODULE, "one"]


async def test_its_end_and_its_status_are_told_and_it_is_forked_again(
    supervisor: Supervisor, make: Make, lines: list[str]
) -> None:
    process = make("one")
    await supervisor.start(process)
    os.kill(supervisor.pids()["one"], signal.SIGKILL)
    await eventually(lambda: len(said(process)) == 2 and "one" in supervisor.pids())
    assert lines == ["one was killed by SIGKILL; starting it again in 0.1 s"]
    assert all(map(is_forked, said(process)))


async def test_it_is_asked_to_stop_and_leaves_no_child_behind(supervisor: Supervisor, make: Make) -> None:
    process = make("one", "with a child")
    await supervisor.start(process)
    (life,) = said(process)
    await supervisor.stop("one")
    await eventually(lambda: not is_alive(life["child"]))
    assert not Path(f"/proc/{life['pid']}").exists()
    assert process.log.read_text().endswith("asked to stop\n")


async def test_one_that_fails_before_it_is_ready_is_told_with_its_last_words(
    supervisor: Supervisor, make: Make
) -> None:
    with pytest.raises(StartError, match="one ended with status 1 before it was ready: no licence"):
        await supervisor.start(make("one", "without a licence"))


async def test_processes_outlive_the_fork_server_which_comes_again(supervisor: Supervisor, make: Make) -> None:
    one, two = make("one"), make("two")
    await supervisor.start(one)
    before = supervisor.pids()
    os.kill(before[forking.NAME], signal.SIGKILL)
    await eventually(lambda: supervisor.pids().get(forking.NAME) not in {None, before[forking.NAME]})
    assert supervisor.pids()["one"] == before["one"]
    await supervisor.start(two)
    assert is_forked(said(two)[0])


async def test_without_a_fork_server_that_answers_a_process_starts_by_itself(
    supervisor: Supervisor, make: Make, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.forkserver._ours.settimeout(0.2)
    monkeypatch.setattr(forking, "PATIENCE", 0.2)
    os.kill(supervisor.pids()[forking.NAME], signal.SIGSTOP)
    stopped, gone = make("stopped"), make("gone")
    await supervisor.start(stopped)
    await supervisor.stop(forking.NAME)
    await supervisor.start(gone)
    assert [is_forked(said(process)[0]) for process in (stopped, gone)] == [False, False]
    assert lines[0] == "stopped could not be forked (timed out); starting it by itself"


async def test_an_order_that_was_given_up_is_not_carried_out(supervisor: Supervisor, make: Make) -> None:
    server = psutil.Process(supervisor.pids()[forking.NAME])
    before = set(psutil.Process().children())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.suspend()
        socket.send_fds(supervisor.forkserver._ours, [b"\0"], [theirs.fileno(), theirs.fileno()])
    server.resume()
    await supervisor.start(make("one"))
    others = {child.pid for child in set(psutil.Process().children()) - before} - {supervisor.pids()["one"]}
    await eventually(lambda: not any(map(is_alive, others)))
    for pid in others:  # nobody else does, and later tests would find their remains
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


async def test_a_roll_with_an_environment_starts_an_interpreter_with_it(supervisor: Supervisor, make: Make) -> None:
    process = make("one")
    await supervisor.start(process)
    await supervisor.roll("one", {"MOOD": "dark"})
    await supervisor.roll("one")
    assert [is_forked(life) for life in said(process)] == [True, False, True]
    assert "MOOD" in said(process)[1]["environment"]


async def test_sockets_are_handed_over(supervisor: Supervisor, make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = make("one", sockets=(listening,))
        await supervisor.start(process)
        (life,) = said(process)
        assert is_forked(life)
        assert life["listens"] == [listening.getsockname()[1]]


async def test_a_fork_server_with_threads_refuses(tmp_path: Path) -> None:
    server = ForkServer()
    async with Supervisor(print, forkserver=server) as supervisor:
        with pytest.raises(StartError, match="has started a thread"):
            await supervisor.start(of(server, tmp_path, "tests.integration.runtime.threaded_import"))
    server.close()


async def test_forked_processes_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tests.integration.runtime.forking_owner", str(tmp_path))
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = await asyncio.to_thread(owner.stdout.readline)
    finally:
        owner.kill()
        owner.communicate()
    pids = json.loads(line).values()
    assert len(pids) == 3
    await eventually(lambda: not any(map(is_alive, pids)))
