"""Plans, and what is left of one's own."""

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency

from api import answers, guards
from domain.api_keys.keys import Caller
from domain.subscriptions import credits as ledger
from domain.subscriptions import plans
from domain.subscriptions.credits import Balance
from domain.subscriptions.plans import PlanView
from runtime.database import Transaction


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Credits: granted = available + held + spent, always."""

    credits: Balance
    plan: PlanView


class Plans(msgspec.Struct, frozen=True):
    """Cheapest first."""

    data: list[PlanView]


@get("/v1/usage", guards=[guards.requires("usage:read")], summary="See credits and plan", responses=answers.reading())
async def usage(caller: NamedDependency[Caller], tx: NamedDependency[Transaction]) -> Usage:
    return Usage(credits=await ledger.balance(tx), plan=await plans.get(tx, caller.plan))


@get("/v1/plans", guards=[guards.any_key], summary="List plans", responses=answers.reading())
async def catalogue(tx: NamedDependency[Transaction]) -> Plans:
    return Plans(await plans.catalogue(tx))


router = Router("/", route_handlers=[usage, catalogue], tags=["Usage and plans"])
