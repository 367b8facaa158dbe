"""A whole render: real database, real child process, real store, and every way in which it may end."""

import hashlib
import io
import os
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from PIL import Image

from bench.faults import disk
from domain.generations import batches, engines, pictures, results
from domain.generations.engines import outage
from domain.generations.engines import template as template_engine
from domain.generations.lifecycle import Plan
from domain.generations.results import Wanted
from domain.tasks.outcomes import Done, Fail, Outcome, Retry, Snooze
from domain.templates.geometry import Output
from runtime import ids, outbound
from runtime.children import ChildPool, Limits
from storage.errors import StorageUnavailableError
from storage.local import LocalStore
from storage.memory import MemoryStore
from tests import http_server
from tests import pictures as drawn

CARD = "social-card"


class Studio:
    """An engine with everything around it. `await studio.render(template="badge", input={…})`."""

    def __init__(self, settings, system, organization, client) -> None:
        self.settings = settings
        self.system = system
        self.organization = organization.id
        self.client = client
        self.store = LocalStore(settings.storage_dir)
        self.scratch = engines.scratch(settings)
        self.scratch.mkdir(parents=True)
        self.renderers = self._open()

    def _open(self) -> ChildPool:
        return template_engine.open_pool(size=1, scratch=self.settings.data_dir / "children")

    async def open_anew(self) -> None:
        """With no child yet, and nothing left of those before."""
        await self.renderers.close()
        self.renderers = self._open()

    async def render(self, plan: Plan) -> Outcome:
        outcome = await engines.render(
            plan,
            store=self.store,
            outbound=self.client,
            renderers=self.renderers,
            find_image=self.find_image,
            settings=self.settings,
        )
        assert list(self.scratch.iterdir()) == []
        return outcome

    async def find_image(self, wanted: Wanted) -> results.Image | None:
        return (await batches.find(self.system, [wanted]))[0]

    def plan(self, *, template: str = "badge", output: Output | None = None, uploads=None, **given: object) -> Plan:
        return Plan(
            organization_id=self.organization,
            generation_id="gen_test",
            template=template,
            input=given or {"label": "A1"},
            output=output or Output(),
            uploads=uploads or {},
        )


@pytest.fixture
async def studio(settings, system, organization):
    async with outbound.Outbound(outbound.Policy(allow=outbound.networks("127.0.0.0/8")), total_timeout=5) as client:
        made = Studio(settings, system, organization, client)
        yield made
        await made.renderers.close()


@pytest.mark.parametrize(("format_", "magic"), [("png", b"\x89PNG"), ("webp", b"RIFF"), ("pdf", b"%PDF")])
async def test_an_image_is_drawn_and_stored_under_its_content(format_, magic, studio):
    outcome = await studio.render(studio.plan(output=Output(format=format_)))
    assert isinstance(outcome, Done)
    image = outcome.result
    body = await studio.store.get(image.storage_key)
    assert body.startswith(magic)
    assert image.storage_key == f"o/{studio.organization}/{hashlib.sha256(body).hexdigest()}.{format_}"
    assert (image.sha256, image.bytes) == (hashlib.sha256(body).hexdigest(), len(body))
    assert (image.width, image.height, image.reused) == (256, 256, False)


async def test_a_store_that_is_no_folder_of_this_machine_is_given_the_finished_file(studio):
    studio.store = MemoryStore()
    image = (await studio.render(studio.plan())).result
    assert (await studio.store.stat(image.storage_key)).sha256 == image.sha256


async def test_what_was_made_before_is_handed_out_again_while_its_object_is_there(studio, ledger):
    task = await ledger.running()
    drawn_first = (await studio.render(studio.plan())).result
    async with ledger.database.transaction(ledger.organization) as tx:
        await results.add(tx, ledger.organization, task.subject, ids.new("ast"), drawn_first)
    again = await studio.render(studio.plan())
    assert (again.result.reused, again.result.storage_key) == (True, drawn_first.storage_key)
    await studio.store.delete(drawn_first.storage_key)
    anew = await studio.render(studio.plan())
    assert (anew.result.reused, anew.result.sha256) == (False, drawn_first.sha256)
    assert (await studio.store.stat(drawn_first.storage_key)).size == drawn_first.bytes
    (studio.settings.storage_dir / drawn_first.storage_key).write_bytes(b"damaged")
    mended = await studio.render(studio.plan())
    assert mended.result.reused is False
    assert (await studio.store.stat(drawn_first.storage_key)).size == drawn_first.bytes


async def test_another_input_output_or_organization_is_another_image(studio, make_organization):
    plans = [
        studio.plan(),
        studio.plan(label="A2"),
        studio.plan(output=Output(scale=2)),
        studio.plan(output=Output(format="webp")),
    ]
    elsewhere = Plan(
        organization_id=(await make_organization()).id,
        generation_id="gen_test",
        template="badge",
        input={"label": "A1"},
        output=Output(),
        uploads={},
    )
    made = [(await studio.render(plan)).result for plan in [*plans, elsewhere]]
    assert len({image.identity for image in made}) == 5
    assert made[4].sha256 == made[0].sha256
    assert made[4].storage_key != made[0].storage_key


async def test_a_card_is_drawn_with_a_photo_from_the_network_and_a_logo_from_a_file(studio):
    logo = drawn.plain(size=(60, 60))
    key = f"o/{studio.organization}/{hashlib.sha256(logo).hexdigest()}.png"
    await studio.store.put(key, logo, content_type="image/png")
    file_id = ids.new("file")
    upload = pictures.Upload(key, hashlib.sha256(logo).hexdigest())
    photo = http_server.response(drawn.plain("JPEG", (300, 200)), headers={"content-type": "image/jpeg"})
    async with http_server.serve(photo) as server:
        plan = studio.plan(
            template=CARD,
            uploads={file_id: upload},
            headline="Hello",
            logo=file_id,
            photo=f"{server.url}/photo.jpg",
        )
        outcome = await studio.render(plan)
    assert isinstance(outcome, Done)
    with Image.open(io.BytesIO(await studio.store.get(outcome.result.storage_key))) as picture:
        assert picture.size == (1200, 630)


async def test_an_address_that_shows_another_picture_is_another_image(studio):
    identities = []
    for side in (100, 120):
        photo = http_server.response(drawn.plain("JPEG", (side, side)), headers={"content-type": "image/jpeg"})
        async with http_server.serve(photo, port=0) as server:
            plan = studio.plan(template=CARD, headline="Hello", photo=f"{server.url}/photo.jpg")
            identities.append((await studio.render(plan)).result.identity)
    assert identities[0] != identities[1]


async def test_a_missing_file_fails_for_good_and_is_named(studio):
    outcome = await studio.render(studio.plan(template=CARD, headline="Hello", logo=ids.new("file")))
    assert outcome == Fail("picture_not_found", "the file named at /input/logo does not exist")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http_server.response(status=404), "picture_unreachable"),
        (http_server.response(b"x", headers={"content-type": "text/html"}), "picture_unreachable"),
        (http_server.response(b"no picture", headers={"content-type": "image/png"}), "picture_unreadable"),
        (http_server.response(drawn.bomb(5001), headers={"content-type": "image/png"}), "picture_too_large"),
    ],
)
async def test_a_picture_that_will_never_do_fails_for_good(answer, code, studio):
    async with http_server.serve(answer) as server:
        outcome = await studio.render(studio.plan(template=CARD, headline="Hello", photo=server.url))
    assert isinstance(outcome, Fail)
    assert outcome.code == code


async def test_a_server_that_cannot_be_reached_may_be_back_in_a_moment(studio):
    async with http_server.serve() as server:
        pass
    outcome = await studio.render(studio.plan(template=CARD, headline="Hello", photo=server.url))
    assert outcome == Retry("a picture could not be fetched (connect_failed)")


async def test_a_render_that_overruns_is_killed_and_costs_one_try(studio, settings):
    patient = studio.renderers
    studio.renderers = template_engine.open_pool(
        size=1, scratch=settings.data_dir / "children", limits=Limits(wall=0.001)
    )
    outcome = await studio.render(studio.plan())
    await studio.renderers.close()
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("timed_out")
    studio.renderers = patient
    assert isinstance(await studio.render(studio.plan()), Done)


async def test_while_the_store_is_away_nothing_counts_as_a_try(studio, settings):
    settings.storage_dir.rename(settings.storage_dir.with_name("elsewhere"))
    settings.storage_dir.write_text("no folder")
    outcome = await studio.render(studio.plan())
    assert isinstance(outcome, Snooze)
    settings.storage_dir.unlink()
    settings.storage_dir.with_name("elsewhere").rename(settings.storage_dir)
    assert isinstance(await studio.render(studio.plan()), Done)


async def test_an_operators_fonts_are_part_of_what_makes_an_image_the_same(studio, settings, tmp_path):
    plain = (await studio.render(studio.plan())).result
    packs = tmp_path / "packs"
    packs.mkdir()
    (packs / "Extra.otf").write_bytes(b"not read before it is used")
    studio.settings = msgspec.structs.replace(settings, fonts_dir=packs)
    assert (await studio.render(studio.plan())).result.identity != plain.identity


async def test_what_killed_workers_left_in_the_scratch_folder_is_swept(tmp_path: Path) -> None:
    old, new, folder = tmp_path / "old.png", tmp_path / "new.png", tmp_path / "pictures"
    folder.mkdir()
    for path in (old, new, folder / "picture-1"):
        path.write_bytes(b"x")
    for path in (old, folder):
        os.utime(path, (0, 0))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")  # as a file that was there a moment ago
    engines.sweep(tmp_path)
    assert sorted(path for path in tmp_path.iterdir() if path.exists()) == [new]


async def test_while_the_store_is_away_nothing_is_drawn_again_until_it_answers(studio, settings, monkeypatch):
    drawn_images: list[str] = []
    draw = template_engine.render

    async def counting(renderers, request):
        drawn_images.append(request.template)
        return await draw(renderers, request)

    monkeypatch.setattr(template_engine, "render", counting)
    settings.storage_dir.rename(settings.storage_dir.with_name("elsewhere"))
    settings.storage_dir.write_text("no folder")
    for _ in range(3):
        assert isinstance(await studio.render(studio.plan()), Snooze)
    assert len(drawn_images) == 1, "only the first try drew in vain"
    settings.storage_dir.unlink()
    settings.storage_dir.with_name("elsewhere").rename(settings.storage_dir)
    assert isinstance(await studio.render(studio.plan()), Done)
    assert len(drawn_images) == 2


async def test_the_pause_grows_while_the_store_is_away(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(outage, "time", SimpleNamespace(monotonic=lambda: now[0]))
    seen = outage.Outage()

    async def put(error: Exception | None) -> None:
        if error:
            raise error

    pauses = []
    for now[0] in (100.0, 140.0, 900.0):
        with pytest.raises(StorageUnavailableError):
            await seen.watch(put(StorageUnavailableError("away")))
        pauses.append(seen.pause().total_seconds())
    assert pauses == [5, 20, 60]
    await seen.watch(put(None))
    assert seen.pause().total_seconds() == 5


async def test_on_a_full_disk_an_image_waits_counts_as_no_try_and_is_drawn_when_there_is_room(
    settings, system, organization
):
    with disk.mounted(settings.data_dir, lambda: 0) as full:
        if "of its own" not in full.how:
            pytest.skip("only root may mount a file system")
        async with outbound.Outbound(outbound.Policy()) as client:
            studio = Studio(settings, system, organization, client)
            try:
                await studio.renderers.warm()
                full.fill()
                assert isinstance(await studio.render(studio.plan()), Snooze)
                await studio.open_anew()  # what the child of that try leaves is room for another, once it is swept
                full.fill()
                assert isinstance(await studio.render(studio.plan()), Snooze), "no child can be started"
                full.clear()
                assert isinstance(await studio.render(studio.plan()), Done)
            finally:
                await studio.renderers.close()
