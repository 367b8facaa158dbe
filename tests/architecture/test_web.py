"""Handlers, guards and dependencies of the API are asynchronous: Litestar puts the others into threads."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source import Source, assert_kept, dotted, files, snippet
from tests.architecture.test_budgets import is_handler


def synchronous_handlers(source: Source) -> Iterator[str]:
    for function in source.functions():
        if isinstance(function, ast.FunctionDef) and is_handler(function):
            yield source.at(function.lineno, f"{function.name} is a handler: async def")


def synchronous_guards(source: Source) -> Iterator[str]:
    """A guard is known by its parameters; one made by a factory is the inner function."""
    for function in source.functions():
        annotations = {
            dotted(argument.annotation).split(".")[-1] for argument in function.args.args if argument.annotation
        }
        if isinstance(function, ast.FunctionDef) and "BaseRouteHandler" in annotations:
            yield source.at(function.lineno, f"{function.name} is a guard: async def")


def synchronous_dependencies(source: Source, everywhere: frozenset[str] = frozenset()) -> Iterator[str]:
    """`everywhere` are the names of all synchronous functions of the API, for dependencies from another file."""
    here = {function.name for function in source.functions() if isinstance(function, ast.FunctionDef)}
    for call in source.calls():
        if dotted(call.func).split(".")[-1] == "Provide" and call.args:
            provider = dotted(call.args[0])
            if provider in here or ("." in provider and provider.split(".")[-1] in everywhere):
                yield source.at(call.lineno, f"{provider} is a dependency: async def")


def threads_for_handlers(source: Source) -> Iterator[str]:
    for call in source.calls():
        if any(keyword.arg == "sync_to_thread" for keyword in call.keywords):
            yield source.at(call.lineno, "sync_to_thread: what needs a thread has no place in a handler")


@pytest.mark.parametrize("rule", [synchronous_handlers, synchronous_guards, threads_for_handlers])
def test_the_api_is_asynchronous(rule):
    assert_kept(rule, "api")


def test_dependencies_from_another_file_are_asynchronous_too():
    synchronous = {f.name for source in files("api") for f in source.functions() if isinstance(f, ast.FunctionDef)}
    assert_kept(lambda source: synchronous_dependencies(source, frozenset(synchronous)), "api")


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (synchronous_handlers, "@get('/')\ndef show(): ..."),
        (synchronous_handlers, "import litestar\n@litestar.post('/')\ndef add(): ..."),
        (synchronous_guards, "def needs(connection: ASGIConnection, handler: BaseRouteHandler) -> None: ..."),
        (synchronous_guards, "def scope(name):\n    def guard(c: ASGIConnection, h: handlers.BaseRouteHandler): ..."),
        (synchronous_dependencies, "def caller(): ...\nx = {'caller': Provide(caller)}"),
        (threads_for_handlers, "x = Provide(caller, sync_to_thread=False)"),
    ],
)
def test_what_breaks_it_is_named(rule, bad):
    assert len(list(rule(snippet(bad, "api/routes/files.py")))) == 1


def test_a_synchronous_dependency_of_another_file_is_named():
    bad = snippet("x = {'caller': Provide(dependencies.caller)}", "api/app.py")
    assert len(list(synchronous_dependencies(bad, frozenset({"caller"})))) == 1
