"""Things that happen in one place only: commits, clocks, the environment, the network, standard output."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import PRODUCT, ROOT, Source, assert_kept, dotted, snippet

COMMITS = {"runtime/database.py"}

CLOCKS = {
    "runtime/clock.py": "the two clocks",
    "cli/demo.py": "looks at a customer's watch",
    "cli/checks/services.py": "asks the parts of an installation how they are",
    "cli/receiver.py": "looks at a customer's watch",
}
_NOW = re.compile(
    r"(?:^|\.)(?:datetime\.(?:now|utcnow|today)|date\.today|time\.(?:time|time_ns|gmtime|localtime)|uuid1)$"
)

ENVIRONMENT = {
    "runtime/settings.py": "reads every setting",
    "runtime/activation.py": "sockets and readiness come in systemd's variables",
    "runtime/forkserver.py": "takes over the environment that it is ordered to have",
    "runtime/launcher.py": "hands sockets over in systemd's variables",
    "runtime/processes.py": "the processes it starts inherit the environment",
    "cli/installation.py": "hands the environment on to the processes of an installation",
    "runtime/embedded/place.py": "hands PATH on to the programs it starts, and nothing else",
}

NETWORK = {
    "runtime/outbound": "the one HTTP client",
    "runtime/services.py": "asks the embedded servers whether they are up",
    "runtime/activation.py": "takes over listening sockets and says that it is ready",
    "runtime/processes.py": "binds the sockets that it hands over",
    "runtime/forking.py": "speaks to the fork server",
    "runtime/child.py": "is told what to do by its parent",
    "runtime/forkserver.py": "is spoken to by the supervisor",
    "cli/installation.py": "finds free ports and binds them",
    "cli/demo.py": "is a customer of the API",
    "cli/prove.py": "is many customers of the API",
    "cli/checks/services.py": "asks the parts of an installation how they are",
    "cli/receiver.py": "is a customer's server",
    "runtime/telemetry/tracing.py": "sends spans to the collector",
    "domain/notifications/channels/email.py": "speaks SMTP",
}
_CLIENTS = {
    "aiohttp", "aiosmtplib", "boto3", "botocore", "cloudinary", "http.client", "httpx", "requests", "smtplib",
    "urllib.request", "urllib3",
}  # fmt: skip


def commits_elsewhere(source: Source) -> Iterator[str]:
    """A transaction begins and ends at its one edge. Savepoints are not commits."""
    if source.path in COMMITS:
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            arguments = [*node.args, *node.keywords]
            if node.func.attr in {"commit", "rollback"} or (node.func.attr == "begin" and not arguments):
                yield source.at(node.lineno, f"{node.func.attr}() belongs to runtime/database.py")
        elif isinstance(node, ast.Constant) and str(node.value).strip(" ;").lower() in {"commit", "rollback", "begin"}:
            yield source.at(node.lineno, "a transaction begun or ended by SQL text")


def other_clocks(source: Source) -> Iterator[str]:
    """`time.monotonic` and `perf_counter` measure and are free; what is a moment comes from `runtime.clock`."""
    if source.path not in CLOCKS:
        for call in source.calls():
            if _NOW.search(dotted(call.func)):
                yield source.at(call.lineno, f"{dotted(call.func)}() instead of clock.machine() or clock.product()")


def reads_of_the_environment(source: Source) -> Iterator[str]:
    if source.path not in ENVIRONMENT:
        for node in source.nodes:
            if dotted(node) in {"os.environ", "os.getenv", "os.environb", "environ"}:
                yield source.at(node.lineno, "the environment is read by runtime/settings.py")  # type: ignore[attr-defined]


def network_clients(source: Source) -> Iterator[str]:
    if not source.path.startswith(tuple(NETWORK)):
        for line, name in source.imports():
            if any(f"{name}.".startswith(f"{client}.") for client in _CLIENTS):
                yield source.at(line, f"{name}: the network is reached through runtime/outbound")
        for call in source.calls():
            if dotted(call.func) in {"socket.socket", "socket.create_connection", "asyncio.open_connection"}:
                yield source.at(call.lineno, f"{dotted(call.func)}(): the network is reached through runtime/outbound")


def writes_to_standard_output(source: Source) -> Iterator[str]:
    """What a person should read is said by `cli`; the rest is logged. (A bare `print` is ruff's T201.)"""
    for node in source.nodes:
        if dotted(node) in {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}:
            yield source.at(node.lineno, "processes write through runtime/telemetry/logs.py")  # type: ignore[attr-defined]


def suppressions_without_a_reason(source: Source) -> Iterator[str]:
    """The reason stands behind the code, or as a comment on the line above."""
    for number, (above, line) in enumerate(zip(["", *source.lines], source.lines, strict=False), 1):
        _, mark, rest = line.partition("# noqa")
        said = re.match(r":\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*\W+\w", rest) or above.lstrip().startswith("# ")
        if mark and not said:
            yield source.at(number, "write `# noqa: CODE - reason`")


@pytest.mark.parametrize("rule", [commits_elsewhere, other_clocks, reads_of_the_environment, network_clients])
def test_it_happens_in_its_place_only(rule):
    assert_kept(rule, *PRODUCT)


def test_only_the_command_line_speaks_to_standard_output():
    says_it = {"cli", "runtime"}  # runtime/telemetry/logs.py is the way out; ruff keeps print() out of the rest
    assert_kept(writes_to_standard_output, *(set(PRODUCT) - says_it))


def test_a_lint_is_suppressed_with_a_reason():
    assert_kept(suppressions_without_a_reason, *PRODUCT, "migrations", "scripts")


@pytest.mark.parametrize("allowed", [CLOCKS, ENVIRONMENT, NETWORK])
def test_an_exception_is_still_there(allowed):
    assert [path for path in allowed if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (commits_elsewhere, "async def f(tx):\n    await tx.commit()"),
        (commits_elsewhere, "async def f(engine):\n    async with engine.begin() as tx: ..."),
        (commits_elsewhere, "async def f(c):\n    await c.execute('COMMIT;')"),
        (other_clocks, "import datetime\nx = datetime.datetime.now()"),
        (other_clocks, "from datetime import datetime\nx = datetime.utcnow()"),
        (other_clocks, "import time\nx = time.time()"),
        (reads_of_the_environment, "import os\nx = os.environ['HOME']"),
        (reads_of_the_environment, "import os\nx = os.getenv('HOME')"),
        (network_clients, "import aiohttp"),
        (network_clients, "from urllib.request import urlopen"),
        (network_clients, "import socket\nx = socket.create_connection(('example.com', 80))"),
        (writes_to_standard_output, "import sys\nsys.stdout.write('x')"),
        (suppressions_without_a_reason, "x = 1  # noqa: E501"),
        (suppressions_without_a_reason, "x = 1  # noqa"),
    ],
)
def test_what_breaks_it_is_named(rule, bad):
    assert len(list(rule(snippet(bad)))) == 1


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (commits_elsewhere, "async def f(tx):\n    async with tx.begin_nested(): ..."),
        (commits_elsewhere, "x = 'the commit of a request'"),
        (commits_elsewhere, "async def f(tx, key):\n    await idempotency.begin(tx, key)"),
        (other_clocks, "import time\nx = time.monotonic()"),
        (other_clocks, "from runtime import clock\nx = clock.product()"),
        (network_clients, "from urllib.parse import urlsplit"),
        (network_clients, "import socket\nx = socket.gethostname()"),
        (suppressions_without_a_reason, "x = 1  # noqa: E501, S608 - the table's name is ours"),
        (suppressions_without_a_reason, "# read by name\nx = 1  # noqa: F841"),
    ],
)
def test_what_keeps_to_it_is_left_alone(rule, good):
    assert list(rule(snippet(good))) == []
