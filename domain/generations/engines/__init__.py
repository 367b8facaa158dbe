"""What makes the image: one module per engine, and the work around it that is the same for all of them."""

import asyncio
import contextlib
import shutil
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path

import msgspec

from domain.generations import pictures
from domain.generations.engines import outage
from domain.generations.engines import template as template_engine
from domain.generations.engines.template import Rendered, RenderRequest, Shelf
from domain.generations.lifecycle import Plan
from domain.generations.pictures import Fetched
from domain.generations.results import FindImage, Image, Wanted
from domain.tasks.outcomes import Done, Fail, Outcome, Retry, Snooze
from domain.templates import catalogue, typefaces
from domain.templates.geometry import MEDIA_TYPES
from runtime import clock, failpoints
from runtime.children import ChildPool
from runtime.outbound import Outbound, OutboundError
from runtime.settings import Settings
from runtime.telemetry import metrics
from storage import keys
from storage.base import ObjectStore
from storage.errors import ObjectDamagedError, ObjectNotFoundError, StorageUnavailableError

RENDER_SECONDS = metrics.histogram(
    "atelier_render_seconds", "Time to draw one image in a child process, from asking to the answer.", ["template"]
)
STORE_SECONDS = metrics.histogram("atelier_storage_put_seconds", "Time to put one image into the store.")
"""Where the render child does that, a part of the time to draw it."""
REUSED = metrics.counter("atelier_images_reused_total", "Images handed out again instead of being drawn.")

_OUTAGE = outage.Outage()
_LEFTOVER = timedelta(hours=1)
_MAY_PASS = frozenset({"timeout", "host_busy", "dns_failed", "connect_failed", "connection_broken"})


class Studio(msgspec.Struct, frozen=True, kw_only=True):
    """What a render works with."""

    store: ObjectStore
    outbound: Outbound
    renderers: ChildPool
    find_image: FindImage
    settings: Settings


async def render(
    plan: Plan,
    *,
    store: ObjectStore,
    outbound: Outbound,
    renderers: ChildPool,
    find_image: FindImage,
    settings: Settings,
) -> Outcome:
    """The image, stored: drawn now, or found when the same one was made before for the same organization."""
    studio = Studio(store=store, outbound=outbound, renderers=renderers, find_image=find_image, settings=settings)
    try:
        return Done(await _image(plan, studio))
    except pictures.PictureMissingError as error:
        return Fail("picture_not_found", f"the file named at /input{error} does not exist")
    except OutboundError as error:
        return _unreachable(error)
    except template_engine.RenderRefusedError as error:
        return Fail(error.code, error.detail)
    except (template_engine.RenderCrashedError, OSError) as error:
        return await _broken(error, settings)
    except StorageUnavailableError as error:
        return Snooze(clock.machine() + _OUTAGE.pause(), f"the store is away: {error}")


async def _broken(error: Exception, settings: Settings) -> Outcome:
    """Whatever breaks while the disk is full, a child without a word too, breaks for that."""
    if await asyncio.to_thread(outage.is_full, scratch(settings)):
        return Snooze(clock.machine() + _OUTAGE.pause(), "no space is left to draw on")
    if isinstance(error, OSError):
        raise error
    return Retry(str(error))


def scratch(settings: Settings) -> Path:
    """Where files lie between the render child and the store: on the local store's own file system."""
    return settings.data_dir / "scratch"


def sweep(folder: Path) -> None:
    """Removes what workers that were killed have left in the scratch folder: whatever is older than any render."""
    oldest = (clock.machine() - _LEFTOVER).timestamp()
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another worker has removed its own meanwhile
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


async def _image(plan: Plan, studio: Studio) -> Image:
    if not catalogue.pictures(catalogue.get(plan.template), plan.input):
        return await _found_or_drawn(plan, studio, {})
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=scratch(studio.settings)))
    try:
        fetched = await pictures.fetch(
            plan.template, plan.input, plan.uploads, store=studio.store, outbound=studio.outbound, folder=folder
        )
        failpoints.hit("render.after_fetch")
        return await _found_or_drawn(plan, studio, fetched)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _found_or_drawn(plan: Plan, studio: Studio, fetched: dict[str, Fetched]) -> Image:
    wanted = plan.identity or identity(plan, fetched, studio.settings)
    found = plan.made if plan.identity else await studio.find_image(Wanted(plan.organization_id, wanted))
    if found is not None and await _is_stored(studio.store, found):
        failpoints.hit("render.before_reuse")
        REUSED.inc()
        return found
    return await _drawn(plan, studio, fetched, wanted)


async def _drawn(plan: Plan, studio: Studio, fetched: dict[str, Fetched], wanted: str) -> Image:
    await _OUTAGE.probe(studio.store)
    content_type, root = MEDIA_TYPES[plan.output.format], studio.store.root
    request = RenderRequest(
        template=plan.template,
        input=plan.input,
        output=plan.output,
        folder=scratch(studio.settings),
        shelf=Shelf(root.absolute(), plan.organization_id, content_type) if root else None,
        ahead=plan.ahead,
        pictures={pointer: picture.path for pointer, picture in fetched.items()},
    )
    failpoints.hit("render.before_draw")
    drawing = _rendered(studio.renderers, request)
    rendered = await (_OUTAGE.watch(drawing) if request.shelf else drawing)
    failpoints.hit("render.after_render")
    # Named for its content, so that a second put of the same image, after a crash, changes nothing.
    key = keys.content_key(plan.organization_id, rendered.sha256, plan.output.format)
    if request.shelf is None:
        await _put(studio.store, key, rendered, content_type)
    failpoints.hit("render.after_put")
    return Image(
        identity=wanted,
        storage_key=key,
        sha256=rendered.sha256,
        format=plan.output.format,
        width=rendered.width,
        height=rendered.height,
        bytes=rendered.size,
    )


async def _rendered(renderers: ChildPool, request: RenderRequest) -> Rendered:
    with RENDER_SECONDS.labels(request.template).time():
        rendered = await template_engine.render(renderers, request)
    if request.shelf:
        STORE_SECONDS.observe(rendered.write_ms / 1000)
    return rendered


async def _put(store: ObjectStore, key: str, rendered: Rendered, content_type: str) -> None:
    put = store.put_file(key, rendered.path, content_type=content_type, sha256=rendered.sha256)
    try:
        with STORE_SECONDS.time():
            await _OUTAGE.watch(put)
    finally:
        await asyncio.to_thread(rendered.path.unlink, missing_ok=True)


async def _is_stored(store: ObjectStore, image: Image) -> bool:
    try:
        return (await store.stat(image.storage_key)).size == image.bytes
    except (ObjectNotFoundError, ObjectDamagedError):  # the put that follows makes or repairs it
        return False


def identity(plan: Plan, fetched: dict[str, Fetched], settings: Settings) -> str:
    packs = settings.fonts_dir if settings.fonts_dir != Path() else None
    return catalogue.identity(
        catalogue.get(plan.template),
        plan.input,
        {pointer: picture.sha256 for pointer, picture in fetched.items()},
        template_engine.canvas(plan.template, plan.output),
        renderer=template_engine.RENDERER,
        fonts=_fonts_digest(packs),
        scope=plan.organization_id,
    )


@cache
def _fonts_digest(packs: Path | None) -> str:
    return typefaces.digest(packs)


def _unreachable(error: OutboundError) -> Outcome:
    """A picture that answers wrongly will do so again; one that does not answer may be back in a moment."""
    if error.code in _MAY_PASS:
        return Retry(f"a picture could not be fetched ({error.code})")
    return Fail("picture_unreachable", f"a picture could not be fetched: {error}")
