"""Log lines: JSON on stderr (or coloured text for a person), with the context of the work that wrote them.

`log = logs.logger(__name__)` at the top of a module, then `log.warning("the queue cannot be reached", queue=name)`:
a plain sentence that stays the same, and what varies as fields. `docs/telemetry.md` lists the fields.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from runtime import clock
from runtime.settings import Settings
from runtime.telemetry import scrubbing, tracing
from runtime.telemetry.bindings import Binding

_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default=MappingProxyType({}))
_FIRST_FIELDS = ("time", "level", "message", "source", "process")
_plain: Callable[[str, str, Mapping[str, str | float | None]], None] | None = None


def logger(name: str) -> FilteringBoundLogger:
    bound: FilteringBoundLogger = structlog.get_logger(source=name)
    return bound


def bound(**values: str) -> Binding[Mapping[str, str]]:
    """For `with`: every line written inside, in this task and those it starts, carries these fields: `request_id`,
    `organization`, `event`, `task` …
    """
    return Binding(_context, {**_context.get(), **values})


def context() -> dict[str, str]:
    """The fields bound here, to hand on to where context variables do not reach."""
    return dict(_context.get())


def plain(source: str, message: str, **fields: str | float | None) -> None:
    """An info line that is not searched for secrets, which is most of what a line costs: for what every request
    writes. To be given ids, templates, numbers and words of fixed lists only.
    """
    if _plain is None:
        logger(source).info(message, **fields)
    else:
        _plain(source, message, fields)


def configure(settings: Settings, process: str, stream: BinaryIO | None = None) -> None:
    """Once, first thing in a process. Libraries' lines from `warning` up (all of them at `debug`), Python's warnings
    and uncaught exceptions go the same way as ours.
    """
    global _plain
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    lines = _Lines(stream or sys.stderr.buffer)
    _plain = _plain_writer(lines, process) if level <= logging.INFO and settings.log_format == "json" else None
    structlog.configure(
        processors=_processors(settings, process),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lines.of,
        cache_logger_on_first_use=False,
    )
    logging.root.handlers[:] = [_FromLibraries()]
    logging.root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _processors(settings: Settings, process: str) -> list[Processor]:
    scrubber = scrubbing.of_settings(settings)

    def finish(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
        line: dict[str, Any] = {**dict.fromkeys(_FIRST_FIELDS), **_context.get(), **fields}
        line["process"] = f"{process}/{os.getpid()}"
        if traceparent := tracing.current_traceparent():
            line.setdefault("trace_id", tracing.trace_id(traceparent))
        return scrubber.fields(line)

    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", key="time"),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),  # `event` is the id of one of ours
        finish,
        *([_json] if settings.log_format == "json" else [_console(), _encode]),
    ]


def _json(_: WrappedLogger, __: str, fields: EventDict) -> bytes:
    return msgspec.json.encode(fields)


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(
        event_key="message",
        timestamp_key="time",
        colors=sys.stderr.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
    )


def _encode(_: WrappedLogger, __: str, line: Any) -> bytes:
    return str(line).encode()


class _Lines:
    """Writes whole lines. A line that can't be written (a full disk, a reader that is gone) never ends the work."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def of(self, *_: object) -> "_Lines":
        return self

    def write(self, line: bytes) -> None:
        with self._lock:
            try:
                self._stream.write(line + b"\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass

    debug = info = warning = error = critical = exception = write


def _plain_writer(lines: _Lines, process: str) -> Callable[[str, str, Mapping[str, str | float | None]], None]:
    name = f"{process}/{os.getpid()}"

    def write(source: str, message: str, fields: Mapping[str, str | float | None]) -> None:
        traceparent = tracing.current_traceparent()
        line = {
            "time": clock.machine(),
            "level": "info",
            "message": message,
            "source": source,
            "process": name,
            **_context.get(),
            **fields,
            "trace_id": tracing.trace_id(traceparent) if traceparent else None,
        }
        lines.write(msgspec.json.encode(line))

    return write


class _FromLibraries(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)  # the arguments don't fit; `handleError` would print them as they are
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        logger(record.name).log(level, message, exc_info=record.exc_info)


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger(__name__).critical("uncaught exception", exc_info=(kind, error, traceback))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
        logger(__name__).critical("uncaught exception", exc_info=exc_info, thread=args.thread and args.thread.name)
