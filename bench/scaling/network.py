"""Hosts on one machine: network namespaces on a bridge, each with an address, a name and a link that can be cut."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

_FIRST: Final = 10
"""Last part of the first host's address."""
_AS: Final = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'
"""Run in a namespace of its own for the host's name."""


class NetworkMissingError(Exception):
    """This machine gives us no network of our own. The text says why."""


class Host:
    def __init__(self, bridge: str, number: int, address: str) -> None:
        self.name, self.address = f"{bridge}-{number}", address
        self._link = f"{bridge}v{number}"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self._link, "master", bridge, "up")
        _ip("-n", self.name, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.name, "link", "set", device, "up")

    def command(self, *argv: str) -> tuple[str, ...]:
        """The same, to be run on this host, under its name."""
        return ("ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", _AS, self.name, *argv)

    def cut(self) -> None:
        """Nothing comes in or goes out any more."""
        _ip("link", "set", self._link, "down")

    def mend(self) -> None:
        _ip("link", "set", self._link, "up")

    def close(self) -> None:
        _ip("netns", "delete", self.name)


class Network:
    """`address` is where this machine itself is on it."""

    def __init__(self) -> None:
        own = os.getpid()
        self._prefix = f"10.{64 + own // 256 % 64}.{own % 256}"
        self._bridge = f"atl{own % 1_000_000}"
        self.address, self.range = f"{self._prefix}.1", f"{self._prefix}.0/24"
        self._hosts: list[Host] = []
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self.address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def hosts(self, count: int) -> list[Host]:
        """The first so many."""
        for number in range(len(self._hosts), count):
            self._hosts.append(Host(self._bridge, number, f"{self._prefix}.{_FIRST + number}"))
        return self._hosts[:count]

    def close(self) -> None:
        for host in self._hosts:
            host.close()
        _ip("link", "delete", self._bridge)


@contextlib.contextmanager
def own() -> Iterator[Network]:
    """Raises NetworkMissingError."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        raise NetworkMissingError("hosts are network namespaces here, which need root and Debian's iproute2")
    with contextlib.ExitStack() as cleanup:
        try:
            made = Network()
            cleanup.callback(made.close)
            made.hosts(1)
        except subprocess.CalledProcessError as error:
            raise NetworkMissingError(f"this machine allows no network namespaces: {error.stderr.strip()}") from error
        yield made


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True, text=True)
