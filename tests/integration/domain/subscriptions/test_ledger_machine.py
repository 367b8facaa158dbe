"""Whatever is done in whatever order, the ledger balances: against a model that only counts."""

import asyncio

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.accounts import organizations
from domain.generations import lifecycle
from domain.generations.errors import GenerationNotReplayable, GenerationOver
from domain.subscriptions import credits
from domain.subscriptions.errors import InsufficientCredits
from domain.tasks import claims
from domain.tasks.outcomes import Done, Fail
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from tests.integration.domain.ledger import Ledger, image

WRONG_ENDS = (
    "select h.hold_id from credit_entries h where h.organization_id = :id and h.kind = 'hold' and "
    "(select count(*) from credit_entries e where e.organization_id = h.organization_id and e.hold_id = h.hold_id "
    "and e.kind <> 'hold') > 1"
)
LENGTH = hypothesis.settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
OPEN = ("queued", "running")


class Machine(RuleBasedStateMachine):
    """One organization on a plan under which a reused image is free."""

    runner: asyncio.Runner
    database: Database
    system: SystemDatabase

    generations = Bundle("generations")

    def __init__(self) -> None:
        super().__init__()
        self.available = self.spent = self.granted = 0
        self.status: dict[str, str] = {}
        self.ledger = Ledger(self.database, self.system, "")

    def run(self, coroutine):
        return self.runner.get_loop().run_until_complete(coroutine)

    async def _transact(self, function, *arguments, **named):
        async with self.database.transaction(self.ledger.organization) as tx:
            return await function(tx, *arguments, **named)

    async def _end(self, generation_id, outcome) -> None:
        task = await self.ledger.started(generation_id)
        plan = lifecycle.Plan(
            organization_id="", generation_id=generation_id, template="", input={}, output={}, uploads={}
        )
        async with self.database.transaction(self.ledger.organization) as tx:
            assert await claims.finish(tx, task)
            await lifecycle.finish(tx, task, plan, outcome)

    @initialize(amount=st.integers(0, 4))
    def found(self, amount) -> None:
        async def make() -> str:
            async with self.system.system_transaction() as tx:
                made = await organizations.create(tx, "Acme")
                await credits.grant(tx, made.id, amount)
                return made.id

        self.ledger.organization = self.run(make())
        self.available = self.granted = amount

    @rule(amount=st.integers(0, 3))
    def grant(self, amount) -> None:
        async def give() -> None:
            async with self.system.system_transaction() as tx:
                await credits.grant(tx, self.ledger.organization, amount)

        self.run(give())
        self.available += amount
        self.granted += amount

    @rule(target=generations, many=st.integers(1, 3))
    def accept(self, many):
        """Several at once, for what may be too few credits."""

        async def ask() -> list[object]:
            return await asyncio.gather(*(self.ledger.generation() for _ in range(many)), return_exceptions=True)

        answers = self.run(ask())
        accepted = [answer for answer in answers if isinstance(answer, str)]
        assert all(isinstance(answer, str | InsufficientCredits) for answer in answers)
        assert len(accepted) == min(many, self.available)
        self.available -= len(accepted)
        self.status |= dict.fromkeys(accepted, "queued")
        return accepted

    @rule(batch=generations, kind=st.sampled_from(["drawn", "reused", "failed"]))
    def end(self, batch, kind) -> None:
        for generation_id in batch:
            if self.status[generation_id] not in OPEN:
                continue
            outcome = Fail("x", "y") if kind == "failed" else Done(image(reused=kind == "reused"))
            self.run(self._end(generation_id, outcome))
            self.status[generation_id] = "failed" if kind == "failed" else "succeeded"
            if kind == "drawn":
                self.spent += 1
            else:
                self.available += 1

    @rule(batch=generations)
    def cancel(self, batch) -> None:
        for generation_id in batch:
            before = self.status[generation_id]
            try:
                self.run(
                    self._transact(
                        lifecycle.cancel, self.ledger.organization, generation_id, by="caller", traceparent=None
                    )
                )
            except GenerationOver:
                assert before in {"succeeded", "failed"}
            else:
                assert before in {*OPEN, "cancelled"}
                self.available += before in OPEN
                self.status[generation_id] = "cancelled"

    @rule(batch=generations)
    def retry(self, batch) -> None:
        for generation_id in batch:
            try:
                self.run(self._transact(lifecycle.retry, self.ledger.organization, generation_id))
            except GenerationNotReplayable:
                assert self.status[generation_id] != "failed"
            except InsufficientCredits:
                assert self.available == 0
            else:
                assert self.status[generation_id] == "failed"
                self.status[generation_id] = "queued"
                self.available -= 1

    @rule(batch=consumes(generations))
    def forget(self, batch) -> None:
        """So that new ones get their turn."""

    @invariant()
    def balances(self) -> None:
        if not self.ledger.organization:
            return
        balance = self.run(self.ledger.balance())
        held = sum(status in OPEN for status in self.status.values())
        assert (balance.available, balance.held, balance.spent, balance.granted) == (
            self.available, held, self.spent, self.granted,
        )  # fmt: skip
        assert balance == self.run(self.ledger.by_entries())
        assert self.run(self.ledger.available()) == balance.available >= 0
        assert self.run(self.ledger.rows(WRONG_ENDS, id=self.ledger.organization)) == []


def test_the_ledger_always_balances(settings):
    with asyncio.Runner() as runner:
        pools = runner.run(_open(settings))
        bound = type("BoundMachine", (Machine,), {"runner": runner, "database": pools[0], "system": pools[1]})
        try:
            run_state_machine_as_test(bound, settings=LENGTH)
        finally:
            runner.run(_close(*pools))


async def _open(settings: Settings) -> tuple[Database, SystemDatabase]:
    app = Database(settings.database_url, size=3, name="test-app")
    return app, SystemDatabase(settings.database_system_url, size=3, name="test-system")


async def _close(*pools: Database | SystemDatabase) -> None:
    for pool in pools:
        await pool.close()
