"""A process with a warm pool: `python -m … SCRATCH` prints its children's pids and waits to be killed."""

import asyncio
import sys
from pathlib import Path

from runtime.children import ChildPool


async def main() -> None:
    pool = ChildPool("tests.integration.runtime.child_program", size=2, scratch=Path(sys.argv[1]))
    await pool.warm()
    pids = await asyncio.gather(*(pool.call(b"time.sleep(0.2) or os.getpid()") for _ in range(2)))
    print(*(pid.decode() for pid in pids), flush=True)
    await asyncio.gather(*(pool.call(b"spin()") for _ in range(2)))


asyncio.run(main())
