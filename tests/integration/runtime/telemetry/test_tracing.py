"""Spans sent to a collector that is a small HTTP server here."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from runtime.settings import Secret, Settings
from runtime.telemetry import tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CANARY = "C4n4ry-of-the-m1ne"


class Collector:
    def __init__(self) -> None:
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []
        received = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not on the test's stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def spans(self) -> dict[str, Span]:
        return {
            span.name: span
            for _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    tracing.shutdown()
    collector.stop()


def record_to(url: str) -> None:
    tracing.configure(Settings(otlp_endpoint=url, operator_token=Secret(CANARY)), "atelier-test")


def attributes(span: Span) -> dict[str, str]:
    return {item.key: item.value.string_value for item in span.attributes}


def test_spans_reach_the_collector_as_parts_of_the_callers_trace(collector: Collector) -> None:
    record_to(collector.url)
    with tracing.continue_from(f"00-{TRACE}-{PARENT}-01"):
        with tracing.start_span("accept", {"organization": "org_1"}, kind="server") as span:
            span.set("outcome", "queued")
            passed_on = tracing.current_traceparent()
            with tracing.start_span("render"):
                pass
        assert tracing.current_traceparent() == f"00-{TRACE}-{PARENT}-01"
    tracing.shutdown()
    accept, render = collector.spans["accept"], collector.spans["render"]
    assert accept.trace_id.hex() == render.trace_id.hex() == TRACE
    assert accept.parent_span_id.hex() == PARENT
    assert render.parent_span_id == accept.span_id
    assert passed_on == f"00-{TRACE}-{accept.span_id.hex()}-01"
    assert accept.kind == Span.SPAN_KIND_SERVER
    assert attributes(accept) == {"organization": "org_1", "outcome": "queued"}
    path, request = collector.requests[0]
    assert path == "/v1/traces"
    service = {item.key: item.value.string_value for item in request.resource_spans[0].resource.attributes}
    assert service["service.name"] == "atelier-test"


def test_a_trace_that_begins_here_is_recorded(collector: Collector) -> None:
    record_to(collector.url)
    with tracing.continue_from(None) as traceparent, tracing.start_span("work"):
        pass
    tracing.shutdown()
    assert collector.spans["work"].trace_id.hex() == tracing.trace_id(traceparent)


def test_a_caller_who_does_not_sample_is_obeyed(collector: Collector) -> None:
    record_to(collector.url)
    with tracing.continue_from(f"00-{TRACE}-{PARENT}-00"), tracing.start_span("work"):
        assert tracing.parse(tracing.current_traceparent())
    tracing.shutdown()
    assert collector.spans == {}


def test_a_failure_is_noted_by_its_type_and_no_secret_leaves(collector: Collector) -> None:
    record_to(collector.url)
    with (
        contextlib.suppress(ValueError),
        tracing.start_span("work", {"url": f"redis://:{CANARY}@h"}) as span,
    ):
        span.set("note", f"the token is {CANARY}")
        int(CANARY)
    tracing.shutdown()
    work = collector.spans["work"]
    assert work.status.code == Status.STATUS_CODE_ERROR
    assert attributes(work)["error.type"] == "ValueError"
    assert CANARY.encode() not in collector.requests[0][1].SerializeToString()


def test_a_collector_that_hangs_or_is_gone_costs_spans_and_no_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        record_to(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        for _ in range(3000):
            with tracing.start_span("work"):
                pass
        assert time.monotonic() - began < 5, "3000 spans into a full queue"
        began = time.monotonic()
        tracing.shutdown()
        assert time.monotonic() - began < 4


def test_without_an_endpoint_the_sdk_is_not_even_loaded() -> None:
    tracing.configure(Settings(), "atelier-test")
    with tracing.continue_from(None) as traceparent, tracing.start_span("work"):
        assert tracing.current_traceparent() == traceparent
