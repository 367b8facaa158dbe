"""A mail server that is away for minutes, and for days."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from domain.notifications import dispatch
from domain.notifications.channels.base import Mail
from domain.notifications.channels.fake import FakeChannel
from domain.notifications.dispatch import Plan
from domain.notifications.errors import ChannelUnavailableError, RecipientRefusedError
from domain.tasks.outcomes import Fail, Retry, Snooze
from runtime import clock
from tests.integration.workers.conftest import Spine

MAIL = Mail(message_id="x@y", sender="a@b.example", recipient="c@d.example", subject="s", text="t", html="<p>t</p>")
TASK = "select state, attempts, run_at > now() as later from tasks where subject = :id order by id desc limit 1"


async def test_a_mail_waits_out_an_outage_and_no_pause_counts(spine: Spine) -> None:
    spine.mail.failure = ChannelUnavailableError("the mail server did not answer in time")
    generation = await spine.accept()
    await spine.drain()
    for _ in range(20):
        async with spine.system.system_transaction() as tx:
            await tx.execute(text("update tasks set run_at = now() where state = 'ready'"))
        await spine.drain()
    assert tuple((await spine.rows(TASK, id=generation))[0]) == ("ready", 0, True)
    assert (
        await spine.value("select error from notifications")
        == "the mail server: the mail server did not answer in time"
    )
    spine.mail.failure = None
    async with spine.system.system_transaction() as tx:
        await tx.execute(text("update tasks set run_at = now() where state = 'ready'"))
    await spine.drain()
    assert len(spine.mail.sent) == 1
    assert tuple((await spine.rows("select status, error from notifications"))[0]) == ("sent", None)


@pytest.mark.parametrize(("age", "pause"), [(0, 5), (60, 15), (600, 150), (86_400, 300)])
async def test_the_pauses_grow_with_the_age_of_the_mail(age: int, pause: int) -> None:
    channel = FakeChannel()
    channel.failure = ChannelUnavailableError("away")
    before = clock.machine()
    outcome = await dispatch.send(Plan("ntf", MAIL, before - timedelta(seconds=age)), mail=channel)
    assert isinstance(outcome, Snooze)
    assert pause <= (outcome.at - before).total_seconds() < pause + 2


async def test_after_three_days_a_person_has_to_look(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "GIVEN_UP_AFTER", timedelta(0))
    spine.mail.failure = ChannelUnavailableError("away")
    generation = await spine.accept()
    await spine.drain()
    assert (await spine.rows(TASK, id=generation))[0].state == "dead"


async def test_a_refused_recipient_is_given_up_at_once() -> None:
    channel = FakeChannel()
    channel.failure = RecipientRefusedError("the mail server answered 550")
    assert isinstance(await dispatch.send(Plan("ntf", MAIL, clock.machine()), mail=channel), Fail)
    channel.failure = ChannelUnavailableError("away")
    outcome = await dispatch.send(Plan("ntf", MAIL, clock.machine() - timedelta(days=4)), mail=channel)
    assert outcome == Retry("the mail server: away", final=True)
