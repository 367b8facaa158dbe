"""What is done each second must not depend on how much there is: twenty thousand rows of everything, and each statement
of the hot path reads a few.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from domain import pages
from domain.dead_letters import carrying_out, letters, operations
from domain.events import feed
from domain.generations import acceptance, batches, lifecycle, reading
from domain.generations.reading import Filter
from domain.generations.results import Wanted
from domain.pages import Page, PageRequest
from domain.subscriptions import credits
from domain.tasks import claims
from domain.tasks.outcomes import Done, Task
from domain.webhooks import history
from domain.webhooks.history import Filter as DeliveryFilter
from queue_config import queues
from queue_config.stub_broker import StubBroker
from runtime import clock, ids
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from storage.addresses import ObjectUrls
from tests.conftest import Servers
from tests.integration.domain.ledger import BADGE, Ledger, image, key
from tests.integration.growth.conftest import AGE, EARLY, EARLY_AGE, ROWS, Grown, Watch
from tests.integration.workers.conftest import Onward
from workers import carrying_on, measuring, relay, schedule
from workers.backpressure import Backpressure
from workers.orphans import Orphans

URLS: Final = ObjectUrls(base="http://here/assets", secrets=("a-secret-of-tests-that-is-long-enough",), ttl=AGE)
FEW: Final = 250
"""Rows, entries or pages of a table: all that a single step or a page may read."""
A_LOOK: Final = 1_500
"""What a page may look at, where no index serves all of its filters."""
BETWEEN: Final = clock.machine() - (AGE + EARLY_AGE) / 2
LEASE: Final = timedelta(seconds=30)


@pytest.fixture
def ledger(database: Database, system: SystemDatabase, grown: Grown) -> Ledger:
    return Ledger(database, system, grown.organizations[0])


def assert_read(reads: dict[str, int], most: int = FEW) -> None:
    far = {table: read for table, read in reads.items() if read > most}
    assert not far, f"read from end to end (10**9) or too far: {far}"


async def claimed(watch: Watch, actor: str, function: str = claims.CLAIM) -> list[Task]:
    ids = [row[0] for row in await watch.connection.fetch("select id from tasks where state = 'dispatched'")]
    found: list[Task] = []

    async def claim() -> None:
        found.extend(
            await claims.claim(watch.system, ids, actors=[actor], owner="a test", lease=LEASE, function=function)
        )

    assert_read(await watch.reads(claim()))
    return found


async def test_a_generation_on_its_way_to_a_webhook(watch: Watch, ledger: Ledger, settings: Settings) -> None:
    system = watch.system

    async def step() -> None:
        await watch.connection.fetchrow(relay.STEP, *relay.arguments(settings))

    assert_read(await watch.reads(ledger.generation()))
    await ledger.rows("delete from pending_events returning 1")
    assert_read(await watch.reads(ledger.accept(key=key("a-key"))))
    assert_read(await watch.reads(ledger.accept(key=key("a-key"))))
    assert_read(await watch.reads(straight_to_a_worker(ledger)))
    assert_read(await watch.reads(step()))
    [task, _] = await claimed(watch, "generations.render", batches.CLAIM)
    [plan] = await batches.start(system, [task], settings=settings)
    left = msgspec.structs.replace(task, begun=None)
    assert_read(await watch.reads(batches.start(system, [left], settings=settings)))
    assert_read(await watch.reads(batches.find(system, [Wanted(ledger.organization, "1" * 64)])))
    assert_read(await watch.reads(claims.renew(watch.connection, {task.id: task.lease_token}, LEASE)))
    onward = Onward(room=queues.WEBHOOKS.window // 2)
    assert_read(await watch.reads(batches.record(system, [(task, plan, Done(result=image()))], carry_on=onward)))
    assert onward.sent
    assert_read(await watch.reads(step()))
    assert await claimed(watch, "webhooks.deliver")


async def test_an_image_that_was_made_a_hundred_thousand_times_already(
    watch: Watch, ledger: Ledger, settings: Settings, servers: Servers, database_name: str
) -> None:
    superuser = await asyncpg.connect(servers.database_url("postgres", database_name))
    await superuser.execute("set session_replication_role = replica")  # the generations are not there
    again = image(identity="3" * 64, storage_key=f"o/{ledger.organization}/{'3' * 64}.png")
    await superuser.execute(
        "insert into assets (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height, "
        "bytes) select $1, 'ast_' || n, 'gen_' || n, $2, $3, $2, 'png', 256, 256, 1000 "
        "from generate_series(1, 120000) n",
        *(ledger.organization, again.identity, again.storage_key),
    )
    await superuser.close()
    await ledger.accept()
    await watch.connection.fetchrow(relay.STEP, *relay.arguments(settings))
    [task] = await claimed(watch, "generations.render", batches.CLAIM)
    [plan] = await batches.start(watch.system, [task], settings=settings)
    ended = [(task, plan, Done(result=again))]

    async def find() -> None:
        [found] = await batches.find(watch.system, [Wanted(ledger.organization, again.identity)])
        assert found is not None
        assert found.storage_key == again.storage_key

    async def collect() -> None:
        keys = [again.storage_key, "of nothing"]
        left = await watch.system.call_many("select * from unreferenced_objects($1, $2)", ledger.organization, keys)
        assert [row[0] for row in left] == ["of nothing"]

    assert_read(await watch.reads(find()))
    assert_read(await watch.reads(batches.record(watch.system, ended, carry_on=Onward(room=0))))
    assert await ledger.rows("select 1 from assets where generation_id = :id", id=task.subject)
    assert (await watch.reads(collect()))["assets"] <= FEW, "and of files there are none"


async def straight_to_a_worker(ledger: Ledger) -> None:
    checked = acceptance.check(acceptance.Request(template="badge", input=BADGE))
    draft = acceptance.draft(checked, key=None, traceparent=None)
    onward = carrying_on.to_images(StubBroker(queues.QUEUES))
    accepted = await acceptance.accept_and_dispatch(ledger.database, ledger.organization, draft, onward)
    assert accepted.task is not None


async def test_what_a_relay_measures_and_notes(watch: Watch, settings: Settings) -> None:
    sampled = (measuring.sample, Backpressure(settings).look, Orphans().look, schedule.look)
    for look in sampled:
        assert_read(await watch.reads(look(watch.connection)))


class Lists:
    """Asks for pages, and sees to it that they read little."""

    def __init__(self, watch: Watch, organization: str) -> None:
        self._watch = watch
        self._organization = organization

    async def generations(self, wanted: Filter, most: int = FEW) -> Page[Any]:
        read = partial(reading.page, wanted=wanted, request=PageRequest(), urls=URLS)
        return await self._page(read, most)

    async def deliveries(self, only: DeliveryFilter, most: int = FEW, after: str | None = None) -> Page[Any]:
        wanted = PageRequest(limit=pages.LARGEST, after=after)
        return await self._page(partial(history.page, organization=self._organization, wanted=wanted, only=only), most)

    async def _page(self, read: Callable[..., Awaitable[Page[Any]]], most: int) -> Page[Any]:
        found: list[Page[Any]] = []

        async def ask() -> None:
            async with self._watch.database.read_only(self._organization) as tx:
                found.append(await read(tx))

        assert_read(await self._watch.reads(ask()), most)
        return found[0]


@pytest.fixture
def lists(watch: Watch, grown: Grown) -> Lists:
    return Lists(watch, grown.organizations[0])


FOUND: Final = [
    Filter(),
    Filter(project="early"),
    Filter(status="succeeded"),
    Filter(status="failed"),
    Filter(status="failed", project="early"),
    Filter(created_before=BETWEEN),
    Filter(created_before=BETWEEN, status="failed"),
    Filter(created_after=BETWEEN),
]
NOT_FOUND: Final = [
    *(Filter(status=status) for status in ("scheduled", "queued", "running", "cancelled")),
    *(Filter(status=status, project="early") for status in ("scheduled", "queued", "running", "succeeded")),
    Filter(project="nobody's"),
    Filter(created_before=BETWEEN, status="succeeded"),
    Filter(created_after=BETWEEN, status="failed"),
]


async def test_pages_of_generations(lists: Lists) -> None:
    for wanted in FOUND:
        assert len((await lists.generations(wanted)).items) == PageRequest().limit, wanted
    for wanted in NOT_FOUND:
        assert (await lists.generations(wanted)).items == [], wanted


async def test_pages_of_deliveries(lists: Lists, grown: Grown) -> None:
    to_one = DeliveryFilter(endpoint_id=grown.endpoints[0])
    failed = DeliveryFilter(status="failed")
    early = EARLY // 2
    assert len((await lists.deliveries(failed)).items) == early
    assert len((await lists.deliveries(msgspec.structs.replace(to_one, status="failed"))).items) == early
    assert len((await lists.deliveries(msgspec.structs.replace(failed, event_type="file.deleted"))).items) == early
    for only in (DeliveryFilter(), to_one, DeliveryFilter(status="delivered")):
        assert len((await lists.deliveries(only)).items) == pages.LARGEST, only
    for only in (DeliveryFilter(status="pending"), DeliveryFilter(event_id="evt_of_nobody")):
        assert (await lists.deliveries(only)).items == [], only


async def test_where_a_filter_has_no_index_each_page_looks_at_a_thousand_rows(lists: Lists) -> None:
    rare, found, asked, last = DeliveryFilter(event_type="file.deleted"), 0, 0, None
    while asked == 0 or last is not None:
        page = await lists.deliveries(rare, A_LOOK, after=last)
        found, asked, last = found + len(page.items), asked + 1, page.last
    assert (found, asked) == (EARLY // 2, ROWS // 2 // pages.LOOK + 1)


async def test_the_feed(watch: Watch, grown: Grown) -> None:
    async def read(position: int, types: tuple[str, ...] = ()) -> None:
        async with watch.database.read_only(grown.organizations[0]) as tx:
            await feed.head(tx)
            await feed.stretch(tx, position, limit=50, types=types)
            await feed.check_kept(tx, position)
            await feed.after(tx, position, limit=50, subject="gen_of_nobody")

    for position in (0, ROWS // 2):
        assert_read(await watch.reads(read(position)))
        assert_read(await watch.reads(read(position, ("generation.failed",))), A_LOOK)
    assert_read(await watch.reads(watch.system.call_many("select * from feed_after($1, 50)", ROWS)))


async def test_single_things_and_sums(watch: Watch, ledger: Ledger, settings: Settings) -> None:
    generation_id = await ledger.generation()

    async def look() -> None:
        async with watch.database.read_only(ledger.organization) as tx:
            await reading.one(tx, generation_id, URLS)
            await credits.balance(tx)
        async with watch.database.transaction(ledger.organization) as tx:
            await lifecycle.cancel(tx, ledger.organization, generation_id, by="caller", traceparent=None)
        async with watch.system.system_transaction() as tx:
            await letters.page(tx, letters.Filter(), PageRequest())
            await letters.oldest(tx, letters.Filter())

    assert_read(await watch.reads(look()))


async def analyze(settings: Settings, table: str) -> None:
    """What autovacuum does a moment after many rows were written."""
    owner = await asyncpg.connect(settings.database_owner_url)
    await owner.execute(f"analyze {table}")
    await owner.close()


async def test_pages_of_many_dead_letters(watch: Watch, ledger: Ledger, settings: Settings) -> None:
    await ledger.rows(
        "insert into tasks (organization_id, event_id, actor, target, subject, queue, state, ended_at) "
        "select organization_id, id, 'webhooks.deliver', 'dead', subject, 'webhooks', 'dead', now() "
        "from (select * from events limit 5000) e returning 1"
    )
    await analyze(settings, "tasks")
    middle = await ledger.value("select id from tasks where state = 'dead' order by id offset 2500 limit 1")
    wanted = operations.Wanted(action="replay", filter=letters.Filter(), rate=10)
    operation_id = await operations.start(watch.database, watch.system, wanted, by="operator")
    started = clock.machine() + timedelta(minutes=1)
    plan = carrying_out.Plan(
        id=operation_id, action="replay", filter=wanted.filter, rate=10, reason="", position=middle, created_at=started
    )

    async def look() -> None:
        async with watch.system.system_transaction() as tx:
            assert (await letters.page(tx, letters.Filter(), PageRequest(after=str(middle)))).items
            assert await letters.oldest(tx, letters.Filter(), after=middle, limit=10)
        assert len(await carrying_out._next(watch.system, plan, middle)) == plan.page

    assert_read(await watch.reads(look()))


async def test_what_of_the_store_nothing_refers_to(watch: Watch, ledger: Ledger, settings: Settings) -> None:
    async with watch.database.transaction(ledger.organization) as tx:
        await tx.execute(
            text(
                "insert into files (organization_id, id, name, content_type, sha256, bytes, width, height, "
                "storage_key) select :organization, 'fil_' || n, 'a', 'image/png', 'x', 1, 1, 1, 'o/' || n "
                "from generate_series(1, 5000) n"
            ),
            {"organization": ledger.organization},
        )
    await analyze(settings, "files")
    keys = [f"o/{number}" for number in range(50)]
    leftovers = watch.system.call_many("select * from unreferenced_objects($1, $2)", ledger.organization, keys)
    assert_read(await watch.reads(leftovers))


async def test_each_batch_of_what_is_deleted(watch: Watch) -> None:
    batch, soon = 100, clock.machine() + timedelta(days=1)
    for statement in ("prune_tasks", "prune_idempotency_keys"):
        assert_read(await watch.reads(watch.system.call(f"select {statement}($1, $2)", soon, batch)), 10 * batch)
    for statement, prefix in (("prune_attempts", "att"), ("prune_deliveries", "dlv"), ("prune_notifications", "ntf")):
        bound = ids.earliest(prefix, soon)
        assert_read(await watch.reads(watch.system.call(f"select {statement}($1, $2)", bound, batch)), 20 * batch)
    page = watch.system.call("select * from prune_log($1, 0, $2, $3)", soon, batch, ["file.uploaded"])
    assert_read(await watch.reads(page), 20 * batch)
