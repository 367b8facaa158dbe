"""A process with a warm pool: `python -m … SCRATCH [related]` prints the pids of its children and of their origin, and
waits to be killed.
"""

import asyncio
import sys
from pathlib import Path

import psutil

from runtime.children import ChildPool


async def main() -> None:
    related = sys.argv[2] == "related"
    pool = ChildPool("tests.integration.runtime.child_program", size=2, scratch=Path(sys.argv[1]), related=related)
    await pool.warm()
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    await asyncio.gather(*(pool.call(b"spin()") for _ in range(2)))


asyncio.run(main())
