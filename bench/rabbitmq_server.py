"""A private RabbitMQ out of Debian's package: on free ports and in a folder of its own, killed, frozen, emptied and
started again at will. The package's service, its user and its data are left alone.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PACKAGE = Path("/usr/lib/rabbitmq/lib")
START_TIMEOUT = 60


class MissingPackageError(Exception):
    """There is no RabbitMQ on this machine."""


def _find_program() -> Path:
    """The script inside the package: the one on the PATH insists on the package's own user."""
    programs = sorted(PACKAGE.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not programs:
        raise MissingPackageError("no RabbitMQ here: apt install --no-install-recommends rabbitmq-server")
    return programs[-1]


class RabbitmqServer:
    """Raises MissingPackageError."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        """`host` is the address that it listens on."""
        self._program = _find_program()
        self._host = host
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port, distribution, self._mapper_port = _free_ports(3)
        self.url = f"amqp://{host}:{self._port}/"
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {host}:{self._port}\nloopback_users = none\nlog.file.level = warning\n"
            "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
        )
        (folder / "enabled_plugins").write_text("[].\n")
        self._environment = os.environ | {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"atelier{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # or the mapper refuses to be ended until it has noticed that the server is gone
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # becomes the server itself instead of a shell that waits for it
            "RUNNING_UNDER_SYSTEMD": "1",
            # one idle core is left alone
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def start(self) -> None:
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """It dies with the thread that launched it, lest a killed test leaves it behind."""
        command = ["setpriv", "--pdeathsig", "KILL", "--", str(self._program)]
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=output, stderr=output, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        assert self._process
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "output").read_text()
            assert time.monotonic() < deadline, "RabbitMQ did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        """The listener is opened last, when all is ready; to what is no AMQP it answers with the version it speaks."""
        with contextlib.suppress(OSError), socket.create_connection((self._host, self._port), timeout=1) as client:
            client.sendall(b"HELO....")
            return client.recv(4) == b"AMQP"
        return False

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    def send(self, number: signal.Signals) -> None:
        assert self._process
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """As `kill -9`: connections break, what was not yet written is gone."""
        if self._process and self.pid:
            self.send(signal.SIGKILL)
            self._process.wait()

    def forget(self) -> None:
        """Of a server that does not run: everything it has ever stored, its queues too."""
        shutil.rmtree(self._folder / "data")

    def control(self, *command: str) -> str:
        """As `rabbitmqctl`."""
        said = subprocess.run(
            [self._program.with_name("rabbitmqctl"), "--quiet", *command],
            env=self._environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return said.stdout

    def close(self) -> None:
        """Ends Erlang's port mapper too, which outlives the server."""
        self.kill()
        subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, check=False)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in found]
