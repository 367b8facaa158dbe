"""Slow SQL statements, logged and counted by the shape of their text; parameters are never read. And the use of the
connection pools.
"""

import hashlib
import re
import time
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from runtime.telemetry import logs, metrics

log = logs.logger(__name__)

LONGEST_TEXT = 300
_BEGAN = "telemetry_began"

slow_statements = metrics.counter(
    "atelier_slow_statements_total", "Statements that took longer than the threshold", ["pool"]
)
pool_connections = metrics.gauge("atelier_pool_connections", "Database connections of this process", ["pool", "state"])
pool_limit = metrics.gauge("atelier_pool_limit", "Most database connections this process may open", ["pool"])

_TOKENS = re.compile(
    r"""(?P<literal> \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | (\$\w*\$).*?\2 | (?<![\w$.])\d+(?:\.\d+)?\b )
      | (?P<name> "[^"]*" )
      | (?P<blank> --[^\n]* | /\*.*?\*/ | \s+ )""",
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = r"(?:\?|\$\d+|%s|:\w+)(?:::[\w ]+(?:\[\])?)?"
_LISTS = re.compile(rf"\(\s*{_PLACEHOLDER}(?:\s*,\s*{_PLACEHOLDER})+\s*\)")
_REPEATED = re.compile(r"(\(…\))(?:\s*,\s*\(…\))+")


def install(engine: AsyncEngine, threshold: float, pool: str) -> None:
    """Watches all that goes through the engine, raw calls of the driver and commits included. `threshold` is in
    seconds; `pool` names the engine in metrics.
    """

    def began(_: Connection, __: Any, ___: str, ____: Any, context: ExecutionContext, _____: bool) -> None:
        setattr(context, _BEGAN, time.monotonic())

    def ended(_: Connection, __: Any, statement: str, ___: Any, context: ExecutionContext, ____: bool) -> None:
        observe(statement, time.monotonic() - getattr(context, _BEGAN))

    def failed(error: ExceptionContext) -> None:
        start = getattr(error.execution_context, _BEGAN, None)
        if start is not None and error.statement:
            observe(error.statement, time.monotonic() - start, _name(error.original_exception))

    def connected(connection: Any, _: Any) -> None:
        if isinstance(connection.driver_connection, asyncpg.Connection):
            watch(connection.driver_connection, threshold, pool)

    def observe(statement: str, seconds: float, error: str | None = None) -> None:
        if seconds >= threshold:
            _report(pool, statement, seconds, error)

    sync = engine.sync_engine
    event.listen(sync, "before_cursor_execute", began)
    event.listen(sync, "after_cursor_execute", ended)
    event.listen(sync, "handle_error", failed)
    event.listen(sync, "connect", connected)
    _show_pool(engine, pool)


def watch(connection: asyncpg.Connection, threshold: float, pool: str) -> None:
    """One connection of the driver, as `install` does with an engine's."""

    def ended(query: Any) -> None:
        if query.elapsed >= threshold:
            _report(pool, query.query, query.elapsed, query.exception and _name(query.exception))

    connection.add_query_logger(ended)


def _report(pool: str, statement: str, seconds: float, error: str | None) -> None:
    slow_statements.labels(pool).inc()
    mark, text = fingerprint(statement)
    outcome = {"error": error} if error else {}
    log.warning("slow statement", pool=pool, seconds=round(seconds, 3), fingerprint=mark, statement=text, **outcome)


def _name(error: BaseException) -> str:
    """PostgreSQL's SQLSTATE, where it was PostgreSQL that refused."""
    return getattr(error, "sqlstate", None) or type(error).__name__


def fingerprint(statement: str) -> tuple[str, str]:
    """Twelve characters that are the same for statements of one shape, and that shape, shortened: without literals,
    comments and line breaks, lists of values as one.
    """
    shape = _TOKENS.sub(_shorten, statement).strip()
    shape = _REPEATED.sub(r"\1", _LISTS.sub("(…)", re.sub(r"\s+", " ", shape)))
    mark = hashlib.blake2b(shape.lower().encode(), digest_size=6).hexdigest()
    return mark, shape if len(shape) <= LONGEST_TEXT else f"{shape[:LONGEST_TEXT]}…"


def _shorten(token: re.Match[str]) -> str:
    return "?" if token["literal"] else token["name"] or " "


def _show_pool(engine: AsyncEngine, name: str) -> None:
    """The engine is asked at each scrape: a disposed engine gets a new pool."""

    def reading(method: str) -> float:
        pool = engine.pool
        return float(getattr(pool, method)()) if isinstance(pool, QueuePool) else 0.0

    pool_connections.labels(name, "in_use").set_function(lambda: reading("checkedout"))
    pool_connections.labels(name, "idle").set_function(lambda: reading("checkedin"))
    if isinstance(engine.pool, QueuePool):
        pool_limit.labels(name).set(engine.pool.size() + engine.pool._max_overflow)  # noqa: SLF001 it has no accessor
