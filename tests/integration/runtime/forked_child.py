"""A process for the fork server's tests: says what it has found, is ready, and waits to be stopped."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

from runtime import activation, ids


def main() -> None:
    if "without a licence" in sys.argv:
        sys.exit("no licence")
    child = subprocess.Popen(["sleep", "300"]) if "with a child" in sys.argv else None
    descriptors = [int(each.name) for each in Path("/proc/self/fd").iterdir()]
    found = {
        "forked": "colorsys" in sys.modules,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "arguments": sys.argv[1:],
        "environment": sorted(os.environ),
        "descriptors": [each for each in descriptors if Path(f"/proc/self/fd/{each}").exists()],
        "random": random.random(),
        "id": ids.new("x"),
        "listens": [each.getsockname()[1] for each in activation.listening_sockets()],
        "child": child.pid if child else None,
    }
    print(json.dumps(found), flush=True)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    activation.announce_ready()
    stopping.wait()
    print("asked to stop", flush=True)


main()
