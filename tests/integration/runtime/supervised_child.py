"""A process for the supervisor's tests: `python -m … greet` answers each connection with its own pid, slowly.

`greet` takes its listening socket over, says that it is ready, and at SIGTERM finishes the answers it owes. `mute`
never becomes ready. `stubborn` ignores SIGTERM. `forking` has a child of its own. `chatty` prints a line a millisecond.
All but `greet` print their pids.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from asyncio import StreamReader, StreamWriter

from runtime import activation


async def greet() -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    answers: set[asyncio.Task[None]] = set()

    async def answer(_reader: StreamReader, writer: StreamWriter) -> None:
        answers.add(task := asyncio.current_task())
        task.add_done_callback(answers.discard)
        await asyncio.sleep(0.02)
        writer.write(str(os.getpid()).encode())
        writer.close()
        await writer.wait_closed()

    (listening,) = activation.listening_sockets()
    server = await asyncio.start_server(answer, sock=listening)
    activation.announce_ready()
    await stopping.wait()
    server.close()
    await asyncio.sleep(0)  # what was accepted already becomes a task
    if answers:
        await asyncio.wait(answers)


def main() -> None:
    behaviour = sys.argv[1]
    if behaviour == "greet":
        asyncio.run(greet())
        return
    print(os.getpid(), flush=True)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "forking":
        print(subprocess.Popen(["sleep", "300"]).pid, flush=True)
    if behaviour != "mute":
        activation.announce_ready()
    while behaviour == "chatty":
        print("on and on", flush=True)
        time.sleep(0.001)
    signal.pause()


main()
