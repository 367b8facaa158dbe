"""A process with a fork server and two processes out of it: `python -m … FOLDER` prints their pids, and waits to be
killed.
"""

import asyncio
import json
import sys
from pathlib import Path

from runtime.forking import ForkServer
from runtime.processes import Supervisor
from tests.integration.runtime.test_forkserver import MODULE, Process, of


async def main(folder: Path) -> None:
    server = ForkServer()
    supervisor = Supervisor(print, forkserver=server)
    await supervisor.start(of(server, folder))
    for name in ("one", "two"):
        argv = (sys.executable, "-m", MODULE, name)
        await supervisor.start(Process(name=name, argv=argv, log=folder / name, forked=True))
    print(json.dumps(supervisor.pids()), flush=True)
    await asyncio.sleep(60)


asyncio.run(main(Path(sys.argv[1])))
