"""Children as their callers see them: real processes that answer, die, overrun, and are replaced."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from runtime import forkserver, offspring
from runtime.children import ChildDiedError, ChildPool, Limits
from runtime.offspring import Origin
from tests.integration.runtime.waiting import eventually, is_alive

PROGRAM = "tests.integration.runtime.child_program"

Open = Callable[..., ChildPool]


@pytest.fixture(params=[False, True], ids=["by themselves", "related"])
async def open_pool(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def opened(size: int = 1, init: bytes = b"", **limits: float) -> ChildPool:
            pool = ChildPool(
                PROGRAM,
                size=size,
                scratch=tmp_path / "scratch",
                init=init,
                limits=Limits(**limits),
                related=request.param,
            )
            stack.push_async_callback(pool.close)
            return pool

        yield opened


async def pid_of(pool: ChildPool) -> int:
    return int(await pool.call(b"os.getpid()"))


async def died(call: Awaitable[bytes]) -> ChildDiedError:
    with pytest.raises(ChildDiedError) as caught:
        await call
    return caught.value


async def test_a_child_is_warm_and_keeps_what_it_was_started_with(open_pool):
    pool = open_pool(init=b"loaded once")
    await pool.warm()
    assert await pool.call(b"init.decode()") == b"loaded once"
    assert await pid_of(pool) == await pid_of(pool) != os.getpid()


async def test_calls_run_side_by_side_as_far_as_there_are_children(open_pool):
    pool = open_pool(size=2)
    await pool.warm()
    answers = await asyncio.gather(*(pool.call(b"time.sleep(0.1) or os.getpid()") for _ in range(4)))
    assert len(set(answers)) == 2


async def test_a_call_that_goes_ahead_is_answered_before_those_that_wait(open_pool):
    pool = open_pool()
    await pool.warm()
    order: list[str] = []

    async def call(name: str, *, ahead: bool = False) -> None:
        await pool.call(b"time.sleep(0.05)", ahead=ahead)
        order.append(name)

    calls = [call("first"), call("second"), call("third"), call("hurried", ahead=True)]
    await asyncio.gather(*calls)
    assert order == ["first", "hurried", "second", "third"]


async def test_a_caller_who_gives_up_waiting_keeps_nobody_from_a_child(open_pool):
    pool = open_pool()
    await pool.warm()
    busy = asyncio.create_task(pool.call(b"time.sleep(0.1)"))
    await asyncio.sleep(0)
    gone, patient = asyncio.create_task(pool.call(b"1")), asyncio.create_task(pool.call(b"'here'"))
    await asyncio.sleep(0)
    busy.add_done_callback(lambda _: gone.cancel())  # in the moment in which it is given the child
    assert await patient == b"here"
    assert gone.cancelled()
    assert await pool.call(b"'still'") == b"still"


async def test_calls_and_answers_may_be_large(open_pool):
    payload = b"\0" + os.urandom(5_000_000)
    assert await open_pool().call(payload) == payload


async def test_what_a_program_prints_does_not_break_the_framing(open_pool):
    pool = open_pool()
    assert await pool.call(b"noise()") == b"quiet"
    assert await pool.call(b"1 + 1") == b"2"


async def test_a_program_that_raises_is_reported_and_replaced(open_pool):
    pool = open_pool()
    before = await pid_of(pool)
    error = await died(pool.call(b"1 / 0"))
    assert (error.reason, "ZeroDivisionError" in error.detail) == ("failed", True)
    assert await pid_of(pool) != before


async def test_a_last_answer_counts_and_the_process_is_replaced(open_pool):
    pool = open_pool()
    before = await pid_of(pool)
    assert await pool.call(b"refuse_for_good()") == b"the last"
    assert await pid_of(pool) != before


async def test_a_killed_child_is_reported_and_replaced(open_pool):
    pool = open_pool()
    assert (await died(pool.call(b"die()"))).reason == "killed"
    assert await pool.call(b"2 + 2") == b"4"


async def test_a_child_that_died_while_idle_is_replaced_before_the_next_call(open_pool):
    pool = open_pool()
    before = await pid_of(pool)
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: not is_alive(before))
    assert await pid_of(pool) != before


async def test_a_call_that_takes_too_long_ends_with_its_child(open_pool):
    pool = open_pool(wall=0.2)
    before = await pid_of(pool)
    assert (await died(pool.call(b"time.sleep(60)"))).reason == "timed_out"
    await eventually(lambda: not is_alive(before))


async def test_a_call_that_burns_too_much_cpu_ends_with_its_child(open_pool):
    error = await died(open_pool(cpu=0.5).call(b"spin()"))
    assert (error.reason, "CPU" in error.detail) == ("timed_out", True)


async def test_the_cpu_limit_counts_for_each_call_anew(open_pool):
    pool = open_pool(cpu=0.5)
    before = await pid_of(pool)
    burn = (
        b"[0 for start in [time.process_time()] for _ in iter(lambda: time.process_time() - start < 0.4, False)] and 0"
    )
    for _ in range(3):
        await pool.call(burn)
    assert await pid_of(pool) == before


async def test_a_call_that_takes_too_much_memory_says_so(open_pool):
    pool = open_pool(memory=256 << 20)
    assert await pool.call(b"hold(1 << 20)") == str(1 << 20).encode()
    assert (await died(pool.call(b"hold(1 << 30)"))).reason == "out_of_memory"
    assert (await died(pool.call(b"abort_as_rust_does()"))).reason == "out_of_memory"


@pytest.mark.parametrize("wrong", [b"stop_in_the_middle_of_an_answer()", b"freeze()"])
async def test_a_child_whose_pipe_is_stuck_is_killed_by_the_clock_and_replaced(open_pool, wrong):
    pool = open_pool(wall=2)
    await pool.warm()
    before = await pid_of(pool)
    assert (await died(pool.call(wrong))).reason == "timed_out"
    await eventually(lambda: not is_alive(before))
    assert await pool.call(b"2 + 2") == b"4"


async def test_a_child_that_stops_reading_does_not_keep_a_large_call_for_ever(open_pool):
    pool = open_pool(wall=2)
    await pool.warm()
    os.kill(await pid_of(pool), signal.SIGSTOP)
    assert (await died(pool.call(bytes(20_000_000)))).reason == "timed_out"
    assert await pool.call(b"2 + 2") == b"4"


async def test_an_answer_that_would_fill_the_memory_of_the_parent_is_not_taken(open_pool):
    pool = open_pool(answer=1_000_000, wall=60)
    assert len(await pool.call(b"'x' * 900_000")) == 900_000
    error = await died(pool.call(b"'x' * 1_100_000"))
    assert (error.reason, "1000000" in error.detail) == ("failed", True)
    assert (await died(pool.call(b"announce_four_gigabytes()"))).reason == "failed"
    assert await pool.call(b"2 + 2") == b"4"


async def test_a_child_that_breaks_off_with_a_segmentation_fault_is_reported_and_replaced(open_pool):
    pool = open_pool()
    error = await died(pool.call(b"segfault()"))
    assert (error.reason, f"ended with {-signal.SIGSEGV}" in error.detail) == ("killed", True)
    assert await pool.call(b"2 + 2") == b"4"


async def test_a_file_cannot_grow_beyond_its_limit(open_pool):
    error = await died(open_pool(file=1000).call(b"Path('big').write_bytes(bytes(2000))"))
    assert "File too large" in error.detail


async def test_a_cancelled_caller_takes_its_child_along_and_others_are_served(open_pool):
    pool = open_pool(size=2)
    first, second = await asyncio.gather(*(pool.call(b"time.sleep(0.1) or os.getpid()") for _ in range(2)))
    waiting = asyncio.create_task(pool.call(b"time.sleep(60)"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: is_alive(int(first)) + is_alive(int(second)) == 1)
    assert await asyncio.gather(*(pool.call(b"3 + 3") for _ in range(4))) == [b"6"] * 4


async def test_children_are_recycled_and_no_call_notices(open_pool):
    pool = open_pool(recycle_after=5)
    pids = []
    async with asyncio.timeout(30):
        while len(set(pids)) < 3:
            pids.append(await pid_of(pool))
    assert min(pids.count(pid) for pid in set(pids[:-1])) >= 5
    await eventually(lambda: sum(is_alive(pid) for pid in set(pids)) <= 1)


async def test_a_child_has_no_environment_and_a_folder_of_its_own(open_pool, tmp_path):
    pool = open_pool(size=2)
    assert await pool.call(b"sorted(name for name in os.environ if name != 'LC_CTYPE')") == b"[]"
    folders = await asyncio.gather(*(pool.call(b"time.sleep(0.1) or os.getcwd()") for _ in range(2)))
    assert {Path(folder.decode()).parent for folder in folders} == {tmp_path / "scratch"}
    assert len(set(folders)) == 2


async def test_a_child_leaves_no_core_and_is_nice(open_pool):
    pool = open_pool(memory=1 << 30, niceness=7)
    assert await pool.call(b"limits()") == str({"memory": 1 << 30, "core": 0}).encode()
    expected = max(7, os.getpriority(os.PRIO_PROCESS, 0))
    assert await pool.call(b"os.getpriority(os.PRIO_PROCESS, 0)") == str(expected).encode()


async def test_a_child_reaches_no_network_where_the_machine_can_forbid_it(open_pool):
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = open_pool()
    reached = await pool.call(f"network({port})".encode())
    server.close()
    assert (reached != b"reached") == (await pool.confinement()).no_network


async def test_what_the_machine_allows_is_found_by_trying(open_pool):
    found = await open_pool().confinement()
    assert (found.memory_limit, found.cpu_limit) == (True, True)
    assert found.dies_with_parent == (sys.platform == "linux")


async def test_a_program_that_does_not_start_says_why(open_pool):
    error = await died(open_pool(init=b"broken").call(b"1"))
    assert (error.reason, "this program never starts" in error.detail) == ("not_started", True)


async def test_closing_leaves_no_process_and_no_file(open_pool, tmp_path):
    pool = open_pool(size=2)
    pids = [int(pid) for pid in await asyncio.gather(*(pool.call(b"time.sleep(0.1) or os.getpid()") for _ in range(2)))]
    late = asyncio.create_task(pool.call(b"time.sleep(60)"))
    await asyncio.sleep(0.05)
    await pool.close()
    assert (await died(late)).reason == "killed"
    assert (await died(pool.call(b"1"))).reason == "not_started"
    assert [pid for pid in pids if is_alive(pid)] == []
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.fixture
async def related(tmp_path: Path) -> AsyncIterator[ChildPool]:
    if not forkserver.possible():
        pytest.skip("needs Linux on a machine whose clone(2) is known")
    pool = ChildPool(PROGRAM, size=2, scratch=tmp_path / "scratch", related=True)
    await pool.warm()
    yield pool
    await pool.close()


def origin_of(pool: ChildPool, *children: int) -> int:
    """The one other child of ours that runs `fork_children` itself."""
    (origin,) = {each.pid for each in psutil.Process().children() if "fork_children" in str(each.cmdline())} - {
        *children
    }
    return int(origin)


async def pids_of(pool: ChildPool) -> list[int]:
    return [int(pid) for pid in await asyncio.gather(*(pool.call(b"time.sleep(0.2) or os.getpid()") for _ in range(2)))]


async def test_related_children_are_forked_from_one_process_and_are_ours(related):
    children = await pids_of(related)
    origin = origin_of(related, *children)
    assert await related.call(b"os.getppid()") == str(os.getpid()).encode()
    assert {psutil.Process(pid).cmdline()[-2:][0] for pid in (*children, origin)} == {PROGRAM}
    await related.close()
    assert not any(is_alive(pid) for pid in (*children, origin))


async def test_related_children_live_on_without_their_origin_and_the_next_has_another(related):
    children = await pids_of(related)
    origin = origin_of(related, *children)
    os.kill(origin, signal.SIGKILL)
    assert set(await pids_of(related)) == set(children)
    assert (await died(related.call(b"die()"))).reason == "killed"
    fresh = await pids_of(related)
    assert len({*fresh, *children}) == 3
    assert origin_of(related, *fresh) != origin


async def test_an_origin_that_cannot_start_is_not_tried_for_each_child(tmp_path, monkeypatch):
    """Its program starts a thread as it is imported, which no fork would take along."""
    if not forkserver.possible():
        pytest.skip("needs Linux on a machine whose clone(2) is known")
    started = []

    class Counted(subprocess.Popen):
        def __init__(self, *given, **named):
            started.append(given)
            super().__init__(*given, **named)

    monkeypatch.setattr(offspring.subprocess, "Popen", Counted)
    origin = Origin("tests.integration.runtime.threaded_import")
    assert [await origin.fork(tmp_path, 2, 0) for _ in range(3)] == [None] * 3
    assert len(started) == 1


async def test_a_frozen_origin_keeps_nobody_from_a_child(related):
    origin = origin_of(related, *await pids_of(related))
    os.kill(origin, signal.SIGSTOP)
    assert (await died(related.call(b"die()"))).reason == "killed"
    assert await related.call(b"2 + 2") == b"4"
    await eventually(lambda: not is_alive(origin))


@pytest.mark.parametrize("related", ["", "related"], ids=["by themselves", "related"])
async def test_children_die_with_a_killed_parent(tmp_path, related):
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.runtime.pool_owner", str(tmp_path), related],
        stdout=subprocess.PIPE,
        text=True,
    )
    pids = [int(pid) for pid in (await asyncio.to_thread(owner.stdout.readline)).split()]
    owner.kill()
    owner.communicate()
    assert len(pids) == (3 if related else 2)
    await eventually(lambda: not any(is_alive(pid) for pid in pids))


async def test_what_dead_children_left_behind_is_swept_and_the_living_are_spared(open_pool, tmp_path):
    pool = open_pool()
    living = Path((await pool.call(b"os.getcwd()")).decode())
    left = tmp_path / "scratch" / "child-left-behind"
    left.mkdir()
    (left / "stderr").touch()
    for folder in (living, left):
        os.utime(folder, (time.time() - 3600,) * 2)
    await open_pool().warm()
    assert (living.is_dir(), left.is_dir()) == (True, False)


def test_a_loop_that_ends_while_children_start_does_not_hang(tmp_path):
    async def fail_at_once() -> None:
        pool = ChildPool(PROGRAM, size=2, scratch=tmp_path)
        warming = asyncio.create_task(pool.warm())
        await asyncio.sleep(0.01)
        warming.cancel()
        await pool.close()

    asyncio.run(fail_at_once())
    assert list(tmp_path.iterdir()) == []
