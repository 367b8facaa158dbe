"""The one pool of threads for storage's blocking calls, so that a slow disk never holds up an event loop and never
takes more threads than these.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

THREADS = 8

P = ParamSpec("P")
T = TypeVar("T")

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")


async def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The caller's context (trace, log fields) goes along. A cancelled call that has begun runs to its end unheard."""
    call = partial(copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)
