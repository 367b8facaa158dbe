"""`atelier up`: everything on one machine, until Ctrl-C or SIGTERM. SIGHUP replaces every process, failing nothing."""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator

from cli import demo, installation
from cli.installation import Installation, Progress
from runtime.processes import StartError
from runtime.settings import Settings


def run(given: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_up(settings, show=given.demo, once=given.once))


async def _up(settings: Settings, *, show: bool, once: bool) -> int:
    began = time.perf_counter()
    stopping = _stop_signals()

    def progress(line: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    async with contextlib.AsyncExitStack() as cleanup:
        receiver = await cleanup.enter_async_context(demo.listening()) if show else None
        settings = demo.reaching(settings, receiver) if receiver else settings
        running = await cleanup.enter_async_context(installation.running(settings, progress))
        progress(f"ready: API {running.contract.base_url}, operators {running.contract.operator_url}")
        async with _rolling_on_hangup(running, progress):
            if receiver:
                await demo.show(running, receiver)
            if not (show and once):
                await _serve(running, stopping)
        progress("stopping")
    progress("stopped")
    return 0


async def _serve(running: Installation, stopping: asyncio.Event) -> None:
    print(f"\nServing {running.contract.base_url} (docs at /docs). Keys and addresses are in "
          f"{running.settings.data_dir}/atelier.json. Ctrl-C stops.", flush=True)  # fmt: skip
    await stopping.wait()


def _stop_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


@contextlib.asynccontextmanager
async def _rolling_on_hangup(running: Installation, progress: Progress) -> AsyncIterator[None]:
    """One roll at a time; one that is under way at the end is given up."""
    wanted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wanted.set)
    task = asyncio.create_task(_roll_for_ever(running, wanted, progress))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _roll_for_ever(running: Installation, wanted: asyncio.Event, progress: Progress) -> None:
    while await wanted.wait():
        wanted.clear()
        progress("replacing every process by a new one")
        try:
            await running.roll()
            progress("every process was replaced")
        except (StartError, OSError) as error:
            progress(f"not every process was replaced: {error}")
