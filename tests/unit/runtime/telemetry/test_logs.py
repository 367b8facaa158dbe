import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runtime.settings import Secret, Settings
from runtime.telemetry import logs, tracing

CANARY = "C4n4ry-of-the-m1ne"


class Written:
    def __init__(self) -> None:
        self.stream = io.BytesIO()

    def configure(self, **settings: Any) -> None:
        logs.configure(Settings(**settings), "test", self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written() -> Iterator[Written]:
    before = logging.root.handlers[:], logging.root.level, sys.excepthook, threading.excepthook
    yield Written()
    logging.root.handlers[:], _, sys.excepthook, threading.excepthook = before
    logging.root.setLevel(before[1])
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


log = logs.logger("some.module")


def test_a_line_is_json_with_its_time_source_process_and_fields(written: Written) -> None:
    written.configure()
    log.info("the queue is reached again", queue="images", waiting=3)
    (line,) = written.lines
    assert line.pop("time").endswith("Z")
    assert line.pop("process").startswith("test/")
    assert line == {
        "level": "info",
        "message": "the queue is reached again",
        "source": "some.module",
        "queue": "images",
        "waiting": 3,
    }


def test_lines_carry_the_context_of_the_work_that_wrote_them(written: Written) -> None:
    written.configure()
    with logs.bound(request_id="req_1", organization="org_1"), logs.bound(event="evt_1", task="tsk_1"):
        log.info("inner")
    log.info("outer")
    inner, outer = written.lines
    assert inner["request_id"] == "req_1"
    assert inner["organization"] == "org_1"
    assert inner["event"] == "evt_1"
    assert inner["task"] == "tsk_1"
    assert inner["message"] == "inner"
    assert not {"request_id", "event"} & set(outer)


async def test_work_that_runs_together_keeps_its_own_context(written: Written) -> None:
    written.configure()

    async def work(task: str) -> None:
        with logs.bound(task=task):
            await asyncio.sleep(0)
            await asyncio.to_thread(log.info, task)

    await asyncio.gather(*(work(f"tsk_{n}") for n in range(5)))
    assert all(line["task"] == line["message"] for line in written.lines)


def test_lines_name_the_trace_they_belong_to(written: Written) -> None:
    written.configure()
    with tracing.continue_from(None) as traceparent:
        log.info("traced")
    log.info("untraced")
    traced, untraced = written.lines
    assert traced["trace_id"] == traceparent.split("-")[1]
    assert "trace_id" not in untraced


def test_lines_below_the_level_are_not_written(written: Written) -> None:
    written.configure(log_level="warning")
    log.info("too quiet")
    log.warning("loud enough")
    assert [line["message"] for line in written.lines] == ["loud enough"]


def test_libraries_lines_go_the_same_way(written: Written) -> None:
    written.configure()
    library = logging.getLogger("some.library")
    library.info("too quiet for a library")
    library.warning("pool of %d is used up", 5)
    library.log(35, "a level of its own")
    assert [(line["source"], line["message"]) for line in written.lines[:2]] == [
        ("some.library", "pool of 5 is used up"),
        ("some.library", "a level of its own"),
    ]


def test_a_library_line_whose_arguments_do_not_fit_is_written_without_them(written: Written) -> None:
    written.configure()
    logging.getLogger("some.library").error("%d items", CANARY)
    (line,) = written.lines
    assert line["message"] == "%d items"
    assert CANARY not in written.text


def test_an_error_brings_its_traceback_on_one_line(written: Written) -> None:
    written.configure()
    try:
        int("no number")
    except ValueError:
        log.exception("rendering failed")
    (line,) = written.lines
    assert line["level"] == "error"
    assert line["exception"].endswith("'no number'")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_planted_secrets_appear_nowhere(written: Written, log_format: str) -> None:
    written.configure(
        log_format=log_format,
        log_level="debug",
        operator_token=Secret(CANARY),
        redis_url=Secret(f"redis://:{CANARY}@localhost"),
    )

    def failing(password: str) -> None:
        try:
            int(password)
        except ValueError as error:
            raise ConnectionError(f"could not log in with {password}") from error

    careless = f"in the message {CANARY}"
    log.info(careless, token=CANARY, headers={"x": [CANARY]}, **{CANARY: 1})
    logging.getLogger("library").warning("redis://:%s@localhost refused %r", CANARY, {"a": CANARY})
    try:
        failing(CANARY)
    except ConnectionError as error:
        with logs.bound(request_id=CANARY):
            log.exception("chained", error=error)
            logging.getLogger("library").exception("chained")
    assert len(written.text) > 500
    assert CANARY not in written.text


def test_an_uncaught_exception_of_a_thread_is_a_line_too(written: Written) -> None:
    written.configure(operator_token=Secret(CANARY))
    hook = threading.excepthook
    thread = threading.Thread(target=[].pop, name="some-thread")
    try:
        thread.run()
    except IndexError:
        hook(threading.ExceptHookArgs((*sys.exc_info(), thread)))
    (line,) = written.lines
    assert line["level"] == "critical"
    assert line["thread"] == "some-thread"
    assert "IndexError" in line["exception"]


def test_nothing_that_is_logged_ends_the_work(written: Written) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    written.configure()
    log.info("strange", broken=Broken(), big=2**80, half="\ud800", nan=float("nan"), by_number={1: 2})
    (line,) = written.lines
    assert line["broken"] == "<Broken>"
    assert line["big"] == str(2**80)
    assert line["by_number"] == {"1": 2}


def test_a_reader_of_the_log_that_is_gone_does_not_end_the_work(written: Written) -> None:
    written.configure()
    written.stream.close()
    log.error("nobody hears this")
    logging.getLogger("some.library").error("nor this")


def test_a_person_may_read_text_instead(written: Written) -> None:
    written.configure(log_format="console")
    log.warning("the queue cannot be reached", queue="images")
    assert "the queue cannot be reached" in written.text
    assert "queue=images" in written.text
