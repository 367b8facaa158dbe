"""Workers that are killed, stopped or hang: everything is done in the end, and nothing twice."""

import os
import signal
import time

from tests.e2e.customer import Customer
from tests.e2e.running import Up, alive, eventually


async def test_what_killed_workers_held_is_done_soon_and_nothing_is_doubled(up: Up, customer: Customer) -> None:
    generations = await customer.post_many(40)
    await customer.wait_until_running(generations)
    for name in ("worker-images", "worker-io"):
        os.kill(up.contract.pids[name], signal.SIGKILL)
    await customer.wait_until_done(generations, seconds=20)
    await customer.check(generations)


async def test_a_worker_that_is_told_to_stop_gives_its_tasks_back_with_no_count_raised(
    up: Up, customer: Customer
) -> None:
    """Its render children do not move, so its tasks cannot end by themselves."""
    worker, children = up.contract.pids["worker-images"], up.renderers()
    for child in children:
        child.suspend()
    generations = await customer.post_many(4)
    await customer.wait_until_running(generations)
    os.kill(worker, signal.SIGTERM)
    await up.wait_for_another("worker-images", worker)
    await customer.wait_until_done(generations, seconds=10)
    assert await customer.troubled(generations) == []
    assert alive(children) == []
    await customer.check(generations)


async def test_a_cancelled_render_that_hangs_is_killed_with_its_child(up: Up, customer: Customer) -> None:
    children = up.renderers()
    for child in children:
        child.suspend()
    generation = await customer.post()
    await customer.wait_until_running([generation])
    before = await customer.ask("GET", "/v1/usage")
    began = time.monotonic()
    await customer.ask("POST", f"/v1/generations/{generation}/cancel")
    await eventually(lambda: len(alive(children)) == len(children) - 1, seconds=5)
    assert time.monotonic() - began < 3, "a heartbeat comes each second"
    for child in alive(children):
        child.resume()
    shown = await customer.ask("GET", f"/v1/generations/{generation}")
    assert (shown["status"], shown["credits"]) == ("cancelled", 0)
    after = await customer.ask("GET", "/v1/usage")
    assert after["credits"]["available"] == before["credits"]["available"] + 1
    others = await customer.post_many(4)
    await customer.wait_until_done(others)
    await customer.check(others)


async def test_a_killed_api_comes_back_on_its_port(up: Up, customer: Customer) -> None:
    before = up.contract.pids["api"]
    os.kill(before, signal.SIGKILL)
    await up.wait_for_another("api", before)
    generation = await customer.post()
    await customer.wait_until_done([generation])
