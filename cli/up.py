"""`atelier up`: everything on one machine, until Ctrl-C or SIGTERM. SIGHUP replaces every process, failing nothing."""

import argparse
import asyncio
import signal
import sys
import time

from cli import demo, installation
from cli.installation import Installation
from runtime.settings import Settings


def run(given: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_up(settings, show=given.demo, once=given.once))


async def _up(settings: Settings, *, show: bool, once: bool) -> int:
    began = time.perf_counter()
    stopping = _stop_signals()

    def progress(line: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    extra = demo.ENVIRONMENT if show else {}
    async with installation.running(settings, progress, extra) as running:
        _on_hangup(running)
        progress(f"ready: API {running.contract.base_url}, operators {running.contract.operator_url}")
        if show:
            async with demo.shown(running):
                if not once:
                    await _serve(running, stopping)
        else:
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


def _on_hangup(running: Installation) -> None:
    rolls: set[asyncio.Task[None]] = set()

    def roll() -> None:
        task = asyncio.get_running_loop().create_task(running.roll())
        rolls.add(task)
        task.add_done_callback(rolls.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, roll)
