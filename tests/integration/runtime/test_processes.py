"""The supervisor with real processes, signals and sockets."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from runtime import launcher, processes
from runtime.processes import Process, Restart, StartError, Supervisor
from tests.integration.runtime import niceness
from tests.integration.runtime.waiting import eventually, is_alive

Make = Callable[..., Process]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A process of `supervised_child`."""

    def build(behaviour: str, **fields: object) -> Process:
        argv = (sys.executable, "-m", "tests.integration.runtime.supervised_child", behaviour)
        given = {"name": behaviour, "argv": argv, "log": tmp_path / f"{behaviour}.log", "ready_timeout": 20.0}
        return Process(**(given | fields))

    return build


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
async def supervisor(lines: list[str]) -> AsyncIterator[Supervisor]:
    async with Supervisor(lines.append) as running:
        yield running


@pytest.fixture
async def listening() -> AsyncIterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


async def who_answers(listening: socket.socket) -> int:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer)


async def test_start_returns_when_the_process_says_that_it_is_ready(
    supervisor: Supervisor, make: Make, listening: socket.socket
) -> None:
    await supervisor.start(make("greet", sockets=(listening,)))
    assert await who_answers(listening) == supervisor.pids()["greet"]


async def test_one_that_is_to_give_way_does_so_with_its_whole_session_and_no_other_does(
    supervisor: Supervisor, make: Make
) -> None:
    ours, our_session = niceness.own(os.getpid()), niceness.of_session(os.getpid())
    await supervisor.start(make("plain"), make("yielding", argv=make("plain").argv, niceness=7))
    await supervisor.roll("yielding")
    plain, yielding = (supervisor.pids()[name] for name in ("plain", "yielding"))
    assert (niceness.own(plain), niceness.own(yielding)) == (ours, max(7, ours))
    if niceness.of_sessions_is_kept():
        assert (niceness.of_session(plain), niceness.of_session(yielding)) == (0, 7)
    assert niceness.of_session(os.getpid()) == our_session


def test_a_launcher_does_what_a_supervisor_of_the_release_before_asks_for() -> None:
    """Files are replaced under a supervisor that runs on (docs/deploying.md): it says nothing of niceness."""
    order = {"parent": os.getpid(), "death_signal": signal.SIGTERM, "identity": "same", "sockets": [], "kept": []}
    command = (sys.executable, "-I", "-S", launcher.__file__, json.dumps(order), "/bin/sh", "-c", "exit 7")
    assert subprocess.run(command, check=False).returncode == 7


async def test_a_process_that_dies_is_started_again_and_the_present_pids_are_told(make: Make, lines: list[str]) -> None:
    seen: list[dict[str, int]] = []
    async with Supervisor(lines.append, lambda: seen.append(supervisor.pids())) as supervisor:
        await supervisor.start(make("plain"))
        first = supervisor.pids()["plain"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: len(seen) == 3)
        second = supervisor.pids()["plain"]
    assert lines == ["plain was killed by SIGKILL; starting it again in 0.1 s"]
    assert [pids.get("plain") for pids in seen] == [first, None, second, None]


async def test_the_pause_grows_while_a_process_keeps_dying(
    supervisor: Supervisor, make: Make, lines: list[str]
) -> None:
    async def at_once() -> bool:
        return True

    restart = Restart(first=0.01, longest=0.04)
    await supervisor.start(make("short", argv=("sleep", "0.01"), ready=at_once, restart=restart))
    await eventually(lambda: len([line for line in lines if "starting it again" in line]) >= 4)
    pauses = [line.rpartition(" in ")[2] for line in lines if "starting it again" in line]
    assert pauses[:4] == ["0.01 s", "0.02 s", "0.04 s", "0.04 s"]


async def test_a_crash_loop_is_called_one_in_a_line_with_the_last_thing_that_was_said(
    supervisor: Supervisor, make: Make, lines: list[str], tmp_path: Path
) -> None:
    async def at_once() -> bool:
        return True

    command = ("sh", "-c", "sleep 0.2; echo the disk is full; exit 3")
    await supervisor.start(make("short", argv=command, ready=at_once, restart=Restart(first=0.01, longest=0.01)))
    await eventually(lambda: len(lines) >= 4)
    log = tmp_path / "short.log"
    said = [line for line in lines if "before it was ready" not in line]
    assert said[0] == "short ended with status 3; starting it again in 0.01 s"
    told = f"the disk is full (see {log}) (crash loop: 4 in a row); starting it again in 0.01 s"
    assert lines[3].startswith("short ended with status 3")
    assert lines[3].endswith(told)


async def test_a_restart_that_fails_is_tried_again(
    supervisor: Supervisor, make: Make, lines: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    command = 'test -e "$0" && echo no licence && exit 3; exec "$@"'
    await supervisor.start(make("plain", argv=("sh", "-c", command, str(broken), *make("plain").argv)))
    broken.touch()
    os.kill(supervisor.pids()["plain"], signal.SIGKILL)
    await eventually(lambda: len(lines) == 2)
    assert lines[1].startswith("plain ended with status 3 before it was ready: no licence (see ")
    broken.unlink()
    await eventually(lambda: "plain" in supervisor.pids())


async def test_a_process_is_stopped_at_once_while_it_waits_to_be_started_again(
    supervisor: Supervisor, make: Make, lines: list[str]
) -> None:
    await supervisor.start(make("plain", restart=Restart(first=60, longest=60)))
    os.kill(supervisor.pids()["plain"], signal.SIGKILL)
    await eventually(lambda: lines == ["plain was killed by SIGKILL; starting it again in 60 s"])
    async with asyncio.timeout(5):
        await supervisor.stop("plain")


async def test_a_start_that_fails_says_the_process_last_words(supervisor: Supervisor, make: Make) -> None:
    argv = ("sh", "-c", "echo starting; echo the disk is full >&2; exit 3")
    with pytest.raises(StartError, match="broken ended with status 3 before it was ready: the disk is full"):
        await supervisor.start(make("broken", argv=argv))
    assert supervisor.pids() == {}


async def test_a_program_that_is_not_there_is_named(supervisor: Supervisor, make: Make) -> None:
    with pytest.raises(StartError, match="cannot start no-such-program: "):
        await supervisor.start(make("absent", argv=("no-such-program",)))


async def test_a_process_that_never_becomes_ready_is_ended(supervisor: Supervisor, make: Make) -> None:
    with pytest.raises(StartError, match=r"mute was not ready within 1 s"):
        await supervisor.start(make("mute", ready_timeout=1.0))
    assert supervisor.pids() == {}


async def test_a_process_that_ignores_the_stop_signal_is_killed_in_the_end(
    supervisor: Supervisor, make: Make, lines: list[str]
) -> None:
    await supervisor.start(make("stubborn", stop_timeout=0.2))
    pid = supervisor.pids()["stubborn"]
    await supervisor.stop("stubborn")
    assert not is_alive(pid)
    assert lines == ["stubborn did not stop within 0.2 s; killing it"]


async def test_all_are_stopped_in_the_reverse_order_of_their_start(make: Make, lines: list[str]) -> None:
    left: list[set[str]] = []
    async with Supervisor(lines.append, lambda: left.append(set(supervisor.pids()))) as supervisor:
        await supervisor.start(make("first"))
        await supervisor.start(make("second"), make("beside the second"))
        await supervisor.start(make("third"))
        left.clear()
    assert left == [{"first", "second", "beside the second"}, {"first"}, set()]


async def test_of_those_started_together_none_is_left_when_one_fails(supervisor: Supervisor, make: Make) -> None:
    ready, unready = make("plain"), make("mute")
    once_both_run = 'until [ -s "$0" ] && [ -s "$1" ]; do sleep 0.05; done; exit 3'
    broken = make("broken", argv=("sh", "-c", once_both_run, str(ready.log), str(unready.log)))
    with pytest.raises(StartError, match="broken ended with status 3"):
        await supervisor.start(ready, broken, unready)
    assert supervisor.pids() == {}
    assert not any(is_alive(int(process.log.read_text())) for process in (ready, unready))


async def test_a_roll_loses_no_connection(supervisor: Supervisor, make: Make, listening: socket.socket) -> None:
    await supervisor.start(make("greet", sockets=(listening,)))
    old = supervisor.pids()["greet"]
    answers: list[int] = []

    enough = asyncio.Event()

    async def keep_asking() -> None:
        while not enough.is_set():
            answers.extend(await asyncio.gather(*(who_answers(listening) for _ in range(5))))

    asking = asyncio.create_task(keep_asking())
    await supervisor.roll("greet")
    new = supervisor.pids()["greet"]
    before = answers.count(new)
    await eventually(lambda: answers.count(new) > before or asking.done())
    enough.set()
    await asking
    assert set(answers) == {old, new}
    assert not is_alive(old)


async def test_a_roll_to_a_process_that_fails_keeps_the_old_one(
    supervisor: Supervisor, make: Make, listening: socket.socket, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    command = 'test -e "$0" && exit 3; exec "$@"'
    greet = make("greet").argv
    await supervisor.start(make("greet", argv=("sh", "-c", command, str(broken), *greet), sockets=(listening,)))
    old = supervisor.pids()["greet"]
    broken.touch()
    with pytest.raises(StartError, match="ended with status 3"):
        await supervisor.roll("greet")
    assert await who_answers(listening) == old == supervisor.pids()["greet"]


async def test_what_a_roll_adds_to_the_environment_lasts_for_one_life(supervisor: Supervisor, make: Make) -> None:
    command = ("sh", "-c", 'echo "mood=$MOOD"; exec "$@"', "sh")
    process = make("plain", argv=(*command, *make("plain").argv))

    def moods() -> list[str]:
        return [line for line in process.log.read_text().splitlines() if line.startswith("mood=")]

    await supervisor.start(process)
    await supervisor.roll("plain", {"MOOD": "dark"})
    os.kill(supervisor.pids()["plain"], signal.SIGKILL)
    await eventually(lambda: moods() == ["mood=", "mood=dark", "mood="])


async def test_what_a_killed_process_leaves_behind_is_killed_too(supervisor: Supervisor, make: Make) -> None:
    process = make("forking")
    await supervisor.start(process)
    grandchild = int(process.log.read_text().splitlines()[1])
    os.kill(supervisor.pids()["forking"], signal.SIGKILL)
    await eventually(lambda: not is_alive(grandchild))


async def test_processes_die_with_a_supervisor_that_is_killed(make: Make, tmp_path: Path) -> None:
    script = """
import asyncio, json, sys
from pathlib import Path
from runtime.processes import Process, Supervisor
async def main():
    supervisor = Supervisor(print)
    for name in ("one", "two"):
        argv = (sys.executable, "-m", "tests.integration.runtime.supervised_child", "plain")
        await supervisor.start(Process(name=name, argv=argv, log=Path(sys.argv[1]) / name))
    print(json.dumps(supervisor.pids()), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    pids = json.loads(await parent.stdout.readline()).values()
    parent.kill()
    await parent.wait()
    await eventually(lambda: not any(is_alive(pid) for pid in pids))


async def test_sockets_and_other_descriptors_arrive_whatever_their_numbers(
    supervisor: Supervisor, make: Make, listening: socket.socket, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as second, (tmp_path / "kept").open("w") as kept:
        report = (
            "from runtime import activation; import os, signal; "
            "print([each.getsockname()[1] for each in activation.listening_sockets()], "
            "sum(os.readlink(f'/proc/self/fd/{fd}').endswith('/kept') for fd in os.listdir('/proc/self/fd') "
            "if os.path.exists(f'/proc/self/fd/{fd}')), flush=True); activation.announce_ready(); signal.pause()"
        )
        process = make(
            "report", argv=(sys.executable, "-c", report), sockets=(second, listening), kept=(kept.fileno(),)
        )
        await supervisor.start(process)
        ports = [second.getsockname()[1], listening.getsockname()[1]]
    assert process.log.read_text().startswith(f"{ports} 1\n")


async def test_a_thread_other_than_the_main_one_may_not_start_processes(make: Make) -> None:
    refused: list[RuntimeError] = []

    def start() -> None:
        try:
            asyncio.run(Supervisor(print).start(make("plain")))
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert "main thread" in str(refused[0])


async def test_a_log_that_has_grown_too_long_is_put_aside_at_the_next_start(supervisor: Supervisor, make: Make) -> None:
    process = make("plain")
    with process.log.open("w") as log:
        log.truncate(17 * 1024 * 1024)
    await supervisor.start(process)
    assert process.log.stat().st_size < 100
    assert (process.log.parent / "plain.log.old").exists()


async def test_the_log_of_a_process_that_runs_on_and_on_is_cut_and_one_older_file_kept(
    supervisor: Supervisor, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT", 1000)
    monkeypatch.setattr(processes, "LOG_LOOK_SECONDS", 0.2)
    log, older = tmp_path / "chatty.log", tmp_path / "chatty.log.old"
    await supervisor.start(make("chatty"))
    pid = supervisor.pids()["chatty"]
    await eventually(older.exists)
    first = older.read_bytes()
    await eventually(lambda: older.read_bytes() not in (first, b""))
    assert len(first) > 1000
    assert b"\0" not in log.read_bytes(), "it is written from the beginning again"
    await eventually(lambda: log.read_bytes().startswith(b"on"))
    assert supervisor.pids()["chatty"] == pid
