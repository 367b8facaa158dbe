import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.telemetry import tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01"


def test_a_well_formed_header_is_taken_as_it_is() -> None:
    assert tracing.parse(HEADER) == HEADER
    assert tracing.trace_id(HEADER) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_a_broken_header_is_as_good_as_none(header: str | None) -> None:
    assert tracing.parse(header) is None


def test_of_a_later_version_the_known_part_is_kept() -> None:
    assert tracing.parse(f"cc-{TRACE}-{PARENT}-01-what-comes-next") == HEADER


@given(header=st.text())
def test_no_text_is_too_strange_to_be_read(header: str) -> None:
    assert tracing.parse(header) is None


def test_new_traces_are_well_formed_and_differ() -> None:
    made = {tracing.new() for _ in range(100)}
    assert len(made) == 100
    assert all(tracing.parse(traceparent) == traceparent for traceparent in made)


def test_the_trace_lasts_as_long_as_the_block() -> None:
    assert tracing.current_traceparent() is None
    with tracing.continue_from(HEADER) as outer:
        assert tracing.current_traceparent() == outer == HEADER
        with tracing.continue_from(None) as inner:
            assert tracing.trace_id(inner) != TRACE
        assert tracing.current_traceparent() == HEADER
    assert tracing.current_traceparent() is None


def test_where_nothing_is_exported_a_span_changes_nothing() -> None:
    with tracing.continue_from(HEADER), tracing.start_span("work", {"task": "tsk_1"}) as span:
        span.set("state", "done")
        assert tracing.current_traceparent() == HEADER
