"""Sizes and names. A file over its budget holds more than one topic: give the second its own file."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source import PRODUCT, Source, assert_kept, dotted, snippet

FILE_LINES, TEST_FILE_LINES = 400, 600
FUNCTION_LINES, HANDLER_LINES = 40, 10
VERBS = {"get", "post", "put", "patch", "delete", "head", "route", "websocket", "asgi"}
NAMELESS = {"service", "util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "shared"}


GENERATED = "migrations/versions/"
"""A migration is a list of statements, and is never changed once it is released: it has no budget."""


def long_files(source: Source) -> Iterator[str]:
    limit = TEST_FILE_LINES if source.path.startswith("tests/") else FILE_LINES
    if len(source.lines) > limit and not source.path.startswith(GENERATED):
        yield source.at(limit, f"{len(source.lines)} lines; a file has at most {limit}")


def long_functions(source: Source) -> Iterator[str]:
    for function in () if source.path.startswith(GENERATED) else source.functions():
        if (length := _length(function, function.lineno)) > FUNCTION_LINES:
            yield source.at(function.lineno, f"{function.name} has {length} lines; a function has {FUNCTION_LINES}")


def long_handlers(source: Source) -> Iterator[str]:
    """Handlers and actors call the domain and nothing else; their signature and docstring do not count."""
    in_actors = source.path.startswith("workers/actors/")
    for function in source.functions():
        length = _length(function, function.body[0].lineno)
        if (in_actors or is_handler(function)) and length > HANDLER_LINES:
            yield source.at(function.lineno, f"{function.name} has {length} lines of body; a handler has at most 10")


def imports_inside_functions(source: Source) -> Iterator[str]:
    for function in source.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield source.at(node.lineno, f"import inside {function.name}")


def classes_named_for_a_layer(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Service", "Manager", "Helper", "Helpers", "Utils")):
            yield source.at(node.lineno, f"{node.name}: functions in a module named for the topic say more")


def files_named_for_a_layer(source: Source) -> Iterator[str]:
    if NAMELESS & set(source.path.removesuffix(".py").split("/")):
        yield source.at(1, "name the file for its topic")


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef, first: int) -> int:
    last = function.end_lineno or first
    head = function.body[0]
    documented = (
        isinstance(head, ast.Expr) and isinstance(head.value, ast.Constant) and isinstance(head.value.value, str)
    )
    docstring = (head.end_lineno or 0) - head.lineno + 1 if documented else 0
    return last - first + 1 - docstring


def is_handler(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    decorators = (node.func if isinstance(node, ast.Call) else node for node in function.decorator_list)
    return any(dotted(decorator).removeprefix("litestar.") in VERBS for decorator in decorators)


@pytest.mark.parametrize(
    "rule", [long_files, imports_inside_functions, classes_named_for_a_layer, files_named_for_a_layer]
)
def test_every_file_keeps_to_it(rule):
    assert_kept(rule, *PRODUCT, "bench", "migrations", "scripts", "tests")


@pytest.mark.parametrize("rule", [long_functions, long_handlers])
def test_every_function_keeps_to_it(rule):
    assert_kept(rule, *PRODUCT, "bench", "migrations", "scripts")


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (long_files, snippet("x = 1\n" * 401)),
        (long_files, snippet("x = 1\n" * 601, "tests/unit/test_it.py")),
        (long_functions, snippet("def f():\n" + "    x = 1\n" * 40)),
        (long_handlers, snippet("@get('/')\nasync def show():\n" + "    x = 1\n" * 11, "api/routes/files.py")),
        (long_handlers, snippet("def start():\n" + "    x = 1\n" * 11, "workers/actors/files.py")),
        (imports_inside_functions, snippet("def f():\n    import os")),
        (imports_inside_functions, snippet("async def f():\n    if True:\n        from os import path")),
        (classes_named_for_a_layer, snippet("class WebhookService: ...")),
        (files_named_for_a_layer, snippet("", "domain/webhooks/service.py")),
        (files_named_for_a_layer, snippet("", "storage/utils/paths.py")),
    ],
)
def test_what_breaks_it_is_named(rule, bad):
    assert len(list(rule(bad))) == 1


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (long_functions, snippet('def f():\n    """' + "text\n" * 60 + '"""\n    return 1')),
        (
            long_handlers,
            snippet("@get('/')\nasync def show(\n" + "    a,\n" * 12 + "):\n    return 1", "api/routes/x.py"),
        ),
        (long_handlers, snippet("def build():\n" + "    x = 1\n" * 11, "api/app.py")),
        (files_named_for_a_layer, snippet("", "runtime/services.py")),
    ],
)
def test_what_keeps_to_it_is_left_alone(rule, good):
    assert list(rule(good)) == []
