"""Where a server runs, and as whom: PostgreSQL refuses root, and an old Redis had better not be given it."""

import contextlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from runtime import processes
from runtime.embedded.errors import ServiceUnavailableError
from runtime.processes import Identity, Process

OTHERS: tuple[Identity, ...] = ("namespace", "nobody")


@dataclass(frozen=True)
class Place:
    data: Path
    run: Path
    """The folder of the sockets."""
    log: Path
    identity: Identity
    fsync: bool
    kept: tuple[int, ...]
    """Descriptors that the server holds open for as long as it lives."""

    def own(self, folder: Path) -> None:
        """Makes the folder the server's."""
        if self.identity == "nobody":
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def environment() -> dict[str, str]:
    """Nothing of ours that is secret, and no PG… variable that would change what is asked for."""
    inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return inherited | {"LC_ALL": "C", "TZ": "UTC"}


async def choose_identity(program: Path, log: Path) -> Identity:
    """An ordinary user stays the same; one without a name is refused by initdb, as root is by PostgreSQL.

    Raises ServiceUnavailableError where the program runs under no other identity.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return "same"
    for identity in OTHERS:
        with contextlib.suppress(processes.StartError):
            argv = (str(program), "--version")
            probe = Process(name=program.name, argv=argv, env=environment(), log=log, identity=identity)
            await processes.run(probe)
            return identity
    raise ServiceUnavailableError(
        f"{program.name} does not run as root, and this machine allows neither user namespaces nor the user nobody: "
        "run as an ordinary user, or set ATELIER_DATABASE_URL and ATELIER_REDIS_URL"
    )


def _has_name(user: int) -> bool:
    try:
        return bool(pwd.getpwuid(user))
    except KeyError:
        return False
