"""What is kept of a try that failed: enough to find the fault, and nothing of the customer's."""

import msgspec
import pytest

from runtime import database
from tests.integration.conftest import OrganizationFactory
from tests.integration.workers.conftest import Spine
from workers import failures

CANARY = "canary-4711"


async def test_neither_the_log_nor_the_ledger_quotes_a_customers_data(
    spine: Spine, make_organization: OrganizationFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = await database.connect(spine.settings.database_owner_url, name="test-owner")
    await owner.execute(f"alter table notifications add constraint no_birds check (recipient not like '{CANARY}%')")
    await owner.close()
    organization = await make_organization(notify_email=f"{CANARY}@customer.example")
    await spine.accept(organization, input={"label": CANARY[:8]})
    await spine.drain()
    kept = await spine.value("select failures::text from tasks where attempts > 0")
    said = capsys.readouterr().out
    assert "IntegrityError (23514)" in kept
    assert "IntegrityError (23514)" in said
    assert "domain/notifications/dispatch.py" in said
    assert CANARY not in kept
    assert CANARY not in said


def test_our_own_errors_keep_their_texts_and_those_of_others_do_not() -> None:
    assert failures.reason(database.WrongRoleError("a superuser")) == "WrongRoleError: a superuser"
    assert failures.reason(msgspec.ValidationError(f"Expected `int`, got {CANARY}")) == "ValidationError"
    try:
        try:
            int(CANARY)
        except ValueError as error:
            raise database.WrongRoleError("why") from error
    except database.WrongRoleError as error:
        found = failures.frames(error)
    assert (found[0], found[2]) == ("WrongRoleError: why", "ValueError")
    assert CANARY not in "".join(found)
