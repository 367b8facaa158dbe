"""The catalogue of plans."""

import pytest

from domain.money import Money
from domain.subscriptions import plans
from domain.subscriptions.errors import PlanUnknown


async def test_the_catalogue_is_listed_from_the_cheapest_on(system):
    async with system.system_transaction() as tx:
        offered = await plans.catalogue(tx)
    assert [(plan.id, plan.monthly_credits) for plan in offered] == [("free", 100), ("pro", 5_000), ("scale", 100_000)]
    assert offered[1].price == Money(2900, "USD")


async def test_a_plan_is_found_by_its_name_by_customers_too(organization, database):
    async with database.read_only(organization.id) as tx:
        assert (await plans.get(tx, "pro")).name == "Pro"
        with pytest.raises(PlanUnknown):
            await plans.get(tx, "diamond")


@pytest.mark.parametrize(("plan", "free"), [("free", True), ("scale", False)])
async def test_what_a_reused_image_costs_is_the_plans(plan, free, make_organization, database):
    organization = await make_organization(plan=plan)
    async with database.read_only(organization.id) as tx:
        assert await plans.reuse_is_free(tx) is free
