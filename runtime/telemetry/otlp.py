"""Spans recorded with OpenTelemetry's SDK and sent by OTLP over HTTP, from a thread of its own: a collector that is
slow or gone costs spans, never time.
"""

import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace.propagation import set_span_in_context

from runtime.settings import Settings
from runtime.telemetry import scrubbing
from runtime.telemetry.scrubbing import Scrubber
from runtime.telemetry.tracing import Attribute, Attributes, Kind

EXPORT_TIMEOUT = 5.0
SHUTDOWN_TIMEOUT = 2.0
EXPORT_EVERY = 1.0
"""Seconds that an ended span waits for others to be sent with it."""


def recorder(settings: Settings, service: str) -> "OtlpRecorder":
    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT)
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY * 1000))
    return OtlpRecorder(provider, scrubbing.of_settings(settings))


class OtlpRecorder:
    """What the caller decided about sampling holds; a trace that begins here is recorded."""

    def __init__(self, provider: TracerProvider, scrubber: Scrubber) -> None:
        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("atelier")
        self._scrubber = scrubber

    def start(self, name: str, kind: Kind, parent: str | None, attributes: Attributes) -> "OtlpSpan":
        context = set_span_in_context(NonRecordingSpan(_remote(parent))) if parent else None
        span = self._tracer.start_span(
            name, context, SpanKind[kind.upper()], self._scrubber.fields(attributes), record_exception=False
        )
        return OtlpSpan(span, self._scrubber)

    def shutdown(self) -> None:
        # the SDK waits for thirty seconds; a daemon thread is left behind instead
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(SHUTDOWN_TIMEOUT)


class OtlpSpan:
    def __init__(self, span: OtelSpan, scrubber: Scrubber) -> None:
        self._span = span
        self._scrubber = scrubber
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attributes(self._scrubber.fields({name: value}))

    def fail(self, error: BaseException) -> None:
        self._span.set_attribute("error.type", type(error).__qualname__)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


def _remote(traceparent: str) -> SpanContext:
    _, trace, parent, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(parent, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
