"""`atelier up` and its neighbours as a person runs them: real commands, real processes, watched from outside."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from cli import contract
from cli.contract import Contract
from tests import renderers
from tests.e2e.compose_file import ROOT

PATIENCE = 60.0
LOOPBACK = {"outbound_allow": "127.0.0.0/8", "webhook_insecure_http": "true"}
"""Where tests receive webhooks."""


class Command:
    """One `atelier` command. Nothing of this machine's environment reaches it but PATH and what measures coverage."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self._output = folder / f"{'-'.join(arguments)}-{time.monotonic_ns()}.out"
        given = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
        given |= {f"ATELIER_{name.upper()}": value for name, value in settings.items()}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *arguments],
                cwd=folder,
                env=given | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """It and everything that it started, directly or not."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Up(Command):
    """A whole installation in a folder, on ports of its own choice."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.data = folder / "var"
        own = {"data_dir": str(self.data), "port": "0", "operator_port": "0"}
        super().__init__(folder, "up", *arguments, **(own | LOOPBACK | settings))

    @property
    def contract(self) -> Contract:
        found = contract.read(self.data)
        assert found is not None, f"it does not run:\n{self.output}"
        return found

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while "ready: API" not in self.output:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"it is not ready:\n{self.output}"
            time.sleep(0.02)

    def log(self, name: str) -> str:
        return (self.data / "log" / f"{name}.log").read_text()

    def forkserver(self) -> psutil.Process:
        (found,) = (one for one in self.family() if "runtime.forkserver" in one.cmdline())
        return found

    def kill_process(self, name: str) -> int:
        """Returns which it was; 0: there is none just now."""
        if pid := self.contract.pids.get(name, 0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    def renderers(self) -> list[psutil.Process]:
        """The render children of the worker of images."""
        return renderers.of(self.contract.pids["worker-images"])

    async def wait_for_another(self, name: str, pid: int) -> None:
        """Until the process of that name is not `pid` any more."""
        await eventually(lambda: self.contract.pids.get(name, pid) != pid)


def secrets_in_memory(pid: int) -> set[str]:
    """The settings, without their prefix, whose values lie in the memory of that process as its environment: what the
    kernel shows as such is that of the fork server.
    """
    found: set[bytes] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, _, _, inode, *_ = line.split()
            if rights.startswith("rw") and inode == "0":
                begin, end = (int(each, 16) for each in place.split("-"))
                memory.seek(begin)
                with contextlib.suppress(OSError):  # a place of the kernel's
                    found |= set(re.findall(rb"ATELIER_([A-Z_]+)=[^\0]", memory.read(end - begin)))
    return {setting.decode() for setting in found}


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


async def eventually(is_true: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not is_true():
            await asyncio.sleep(0.02)
