"""One trace from a request through events and tasks to the webhook, after W3C Trace Context (level 1).

The `traceparent` header travels as plain text, made and read here by hand: where nothing is exported that is all there
is, and it costs a microsecond. With `ATELIER_OTLP_ENDPOINT` set, `start_span` also records spans and sends them away
(`runtime/telemetry/otlp.py`, loaded only then: it brings 15 MB of libraries).
"""

import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Literal, Protocol, Self

import uuid_utils

from runtime.settings import Settings
from runtime.telemetry.bindings import Binding

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attribute = str | int | float | bool
Attributes = Mapping[str, Attribute]

_FORMAT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Span(Protocol):
    def set(self, name: str, value: Attribute) -> None:
        """Adds an attribute: an id, a state or an amount; never a text of a customer's."""


class RecordedSpan(Span, Protocol):
    traceparent: str

    def fail(self, error: BaseException) -> None: ...

    def end(self) -> None: ...


class Recorder(Protocol):
    def start(self, name: str, kind: Kind, parent: str | None, attributes: Attributes) -> RecordedSpan: ...

    def shutdown(self) -> None: ...


class _NoSpan:
    """Where nothing is recorded: one for all."""

    def set(self, name: str, value: Attribute) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


_NO_SPAN = _NoSpan()
_recorder: Recorder | None = None


def configure(settings: Settings, service: str) -> None:
    """`service` names this process in traces: `atelier-api`, `atelier-relay` …"""
    global _recorder
    shutdown()
    if settings.otlp_endpoint:
        _recorder = importlib.import_module("runtime.telemetry.otlp").recorder(settings, service)


def shutdown() -> None:
    """Sends what is still held back, for two seconds at most."""
    global _recorder
    if _recorder is not None:
        _recorder.shutdown()
        _recorder = None


def parse(header: str | None) -> str | None:
    """The header if it is well formed, else None: a broken one is as good as none. Of a later version only the part
    that version 00 knows is kept.
    """
    found = _FORMAT.fullmatch(header) if header else None
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    return None if version == "00" and more else f"00-{trace}-{parent}-{flags}"


def new() -> str:
    """A trace of its own, marked as sampled where its spans are recorded."""
    return f"00-{uuid_utils.uuid4().hex}-{uuid_utils.uuid4().hex[:16]}-{'01' if _recorder else '00'}"


def trace_id(traceparent: str) -> str:
    return traceparent[3:35]


def current_traceparent() -> str | None:
    """What to write on an event or send with a request made here."""
    return _current.get()


def continue_from(header: str | None) -> Binding[str]:
    """For `with`: goes on with the trace of a request, an event or a task; begins a new one when there is none."""
    return Binding(_current, parse(header) or new())


def start_span(
    name: str, attributes: Attributes | None = None, kind: Kind = "internal"
) -> contextlib.AbstractContextManager[Span]:
    """Times what happens inside as a part of the current trace, where spans are recorded. A failure is noted by its
    type alone.
    """
    if _recorder is None:
        return _NO_SPAN
    return _recorded(_recorder, name, attributes or {}, kind)


@contextlib.contextmanager
def _recorded(recorder: Recorder, name: str, attributes: Attributes, kind: Kind) -> Iterator[Span]:
    span = recorder.start(name, kind, _current.get(), attributes)
    token = _current.set(span.traceparent)
    try:
        yield span
    except BaseException as error:
        span.fail(error)
        raise
    finally:
        _current.reset(token)
        span.end()
