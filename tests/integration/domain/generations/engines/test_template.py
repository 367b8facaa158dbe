"""The template engine through its real child processes: what it draws, and what it refuses."""

import asyncio
import hashlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from PIL import Image

from domain.generations.engines import template as engine
from domain.generations.engines.template import Output, RenderCrashedError, Rendered, RenderRefusedError, RenderRequest
from domain.templates import catalogue, rendering, typefaces
from runtime.children import ChildPool, Limits
from scripts import previews
from tests import pictures
from tests.integration.runtime.waiting import eventually, is_alive

BADGE = {"label": "A+", "caption": "Top reviewer"}
PHOTO = {"headline": "A lake", "photo": "https://pictures.example/lake.jpg"}
PICTURE_KINDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
ONLY_IN_SERIFS = "\u2c60"
"""A letter that one shipped font has, which most texts do not fall back on."""
HOSTILE = Path(__file__).parent / "templates"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChildPool]:
    opened = engine.open_pool(size=1, scratch=tmp_path_factory.mktemp("children"))
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ChildPool]:
    """A pool with templates that no one would ship."""
    folder = shutil.copytree(HOSTILE, tmp_path / "templates")
    setup = rendering.encode(rendering.Setup(folder))
    limits = Limits(cpu=1, wall=5, memory=512 << 20)
    opened = ChildPool("domain.templates.renderer", size=1, scratch=tmp_path / "children", init=setup, limits=limits)
    templates = {name: catalogue.get("badge") for name in ("endless", "greedy", "curious", "lazy", "pages")}
    monkeypatch.setattr(catalogue, "all_templates", lambda: templates)
    yield opened
    await opened.close()


async def rendered(
    pool: ChildPool, folder: Path, template: str, given: dict, *, photo: bytes | Path | None = None, **output: object
) -> Rendered:
    named = {}
    if photo is not None:
        named["/photo"] = photo if isinstance(photo, Path) else folder / "photo"
    if isinstance(photo, bytes):
        named["/photo"].write_bytes(photo)
    request = RenderRequest(template=template, input=given, output=Output(**output), folder=folder, pictures=named)
    return await engine.render(pool, request)


async def refused(*args: object, **kwargs: object) -> str:
    with pytest.raises(RenderRefusedError) as caught:
        await rendered(*args, **kwargs)
    return caught.value.code


def child_pids() -> list[int]:
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child.pid for child in living if "runtime.child" in " ".join(child.cmdline())]


async def test_the_answer_describes_the_file_that_was_written(pool, tmp_path):
    result = await rendered(pool, tmp_path, "badge", BADGE)
    body = result.path.read_bytes()
    assert (result.path.parent, result.path.suffix) == (tmp_path, ".png")
    assert (result.size, result.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert (result.width, result.height) == (256, 256)
    assert [path.name for path in tmp_path.glob("*.part")] == []


@pytest.mark.parametrize("form", PICTURE_KINDS)
async def test_an_image_has_the_format_and_the_pixels_that_were_asked_for(pool, tmp_path, form):
    for output, size in (({}, (256, 256)), ({"scale": 1.3}, (333, 333)), ({"width": 301, "height": 99}, (301, 99))):
        result = await rendered(pool, tmp_path, "badge", BADGE, format=form, **output)
        with Image.open(result.path) as image:
            assert (image.format, image.size, (result.width, result.height)) == (PICTURE_KINDS[form], size, size)


async def test_a_lower_quality_makes_a_smaller_file(pool, tmp_path):
    for form in ("jpeg", "webp"):
        small = await rendered(pool, tmp_path, "badge", BADGE, format=form, quality=20)
        large = await rendered(pool, tmp_path, "badge", BADGE, format=form, quality=95)
        assert small.size < large.size


async def test_a_pdf_has_pages_of_the_size_that_was_asked_for(pool, tmp_path):
    result = await rendered(
        pool, tmp_path, "quote-card", {"quote": "Yes", "name": "A"}, format="pdf", width=500, height=700
    )
    body = result.path.read_bytes()
    assert body.startswith(b"%PDF-")
    assert b"/MediaBox[0 0 500 700]" in body


@pytest.mark.parametrize("form", [*PICTURE_KINDS, "pdf"])
async def test_the_same_input_gives_the_same_bytes_also_in_another_process(pool, tmp_path, form):
    async def digest(of: ChildPool) -> str:
        given = PHOTO | {"qr": "https://lake.example"}
        return (await rendered(of, tmp_path, "social-card", given, photo=pictures.with_metadata(), format=form)).sha256

    other = engine.open_pool(size=1, scratch=tmp_path / "others")
    assert len({await digest(pool), await digest(pool), await digest(other)}) == 1
    await other.close()


@pytest.mark.parametrize("template", catalogue.all_templates().values(), ids=lambda template: template.name)
async def test_a_preview_shows_what_its_template_draws_today(pool, tmp_path, template):
    drawn = await previews.draw(pool, template, tmp_path)
    assert drawn == (template.folder / "preview.png").read_bytes(), "run `.venv/bin/python -m scripts.previews`"


async def test_different_prompts_look_different(pool, tmp_path):
    colours = set()
    for prompt in ("Paper boats", "Paper boat", "a fox", "مدينة قديمة", "पहाड़ों के बीच"):
        result = await rendered(pool, tmp_path, "prompt-card", {"prompt": prompt}, width=128)
        with Image.open(result.path) as image:
            colours.add(image.convert("RGB").resize((1, 1)).getpixel((0, 0)))
    assert len(colours) == 5


async def test_the_same_words_to_the_right_or_to_the_left_are_set_on_their_side(pool, tmp_path):
    async def centre_of_ink(headline: str) -> float:
        result = await rendered(pool, tmp_path, "social-card", {"headline": headline, "palette": "ink"})
        with Image.open(result.path) as image:
            ink = image.convert("L").crop((0, 150, 1200, 480)).point(lambda value: 255 if value > 200 else 0)
        left, _, right, _ = ink.getbbox()
        return (left + right) / 2

    assert await centre_of_ink("A short line") < 600 < await centre_of_ink("سطر قصير")
    assert await centre_of_ink("שורה קצרה") > 600


async def test_a_headline_of_any_length_stays_inside_its_card(pool, tmp_path):
    for headline in ("x" * 160, "word " * 31 + "end", "W" * 24, "क्षत्रिय " * 17, "مرحبا " * 26):
        result = await rendered(pool, tmp_path, "social-card", {"headline": headline, "palette": "ink"})
        with Image.open(result.path) as image:
            ink = image.convert("L").crop((0, 0, 880, 630)).point(lambda value: 255 if value > 200 else 0)
        left, top, right, bottom = ink.getbbox()
        assert left >= 40, headline
        assert top >= 30, headline
        assert bottom <= 600, headline
        assert right <= 880, headline


async def test_a_product_without_a_photo_leaves_no_empty_band(pool, tmp_path):
    result = await rendered(pool, tmp_path, "product-card", {"name": "Stoneware vase", "price": "€68"})
    with Image.open(result.path) as image:
        ground = image.convert("L").crop((60, 0, 700, 1350))
        rows = [min(ground.crop((0, y, 640, y + 1)).getextrema()) < 100 for y in range(1350)]
    inked = [y for y, has_ink in enumerate(rows) if has_ink]
    assert max(below - above for above, below in itertools.pairwise(inked)) < 130


async def test_a_quote_without_a_portrait_is_set_larger(pool, tmp_path):
    result = await rendered(pool, tmp_path, "quote-card", {"quote": "Less, but better", "name": "D. Rams"})
    with Image.open(result.path) as image:
        byline = image.convert("L").crop((90, 900, 900, 1000)).point(lambda value: 255 if value > 150 else 0)
        words = image.convert("L").crop((90, 350, 1000, 880)).point(lambda value: 255 if value > 150 else 0)
    assert byline.getbbox()[3] - byline.getbbox()[1] > 24
    assert words.getbbox()[3] - words.getbbox()[1] > 200


async def test_a_picture_is_turned_upright_and_loses_what_it_told_of_its_owner(pool, tmp_path):
    result = await rendered(pool, tmp_path, "social-card", PHOTO, photo=pictures.with_metadata(), format="jpeg")
    body = result.path.read_bytes()
    assert b"secret" not in body
    with Image.open(result.path) as image:
        # its red half is on the left as it is stored, on top as it is meant
        above, below = image.getpixel((950, 120)), image.getpixel((950, 500))
    assert above[0] > 200 > 60 > above[1]
    assert min(below) > 200


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
async def test_pictures_of_every_usual_kind_are_taken(pool, tmp_path, kind, mode):
    assert (await rendered(pool, tmp_path, "social-card", PHOTO, photo=pictures.plain(kind, mode=mode))).size


@pytest.mark.parametrize(
    ("photo", "code"),
    [
        (pictures.bomb(13_000), "picture_too_large"),
        (pictures.plain()[:60], "picture_unreadable"),
        (b"", "picture_unreadable"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "picture_unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "picture_unreadable"),
        (pictures.encoded(Image.new("RGB", (9, 9)), "GIF"), "picture_unreadable"),
        (Path("/etc/passwd"), "picture_unreadable"),
    ],
    ids=["bomb", "cut off", "empty", "SVG", "EPS", "GIF", "a file of the machine"],
)
async def test_a_hostile_picture_is_refused_for_good(pool, tmp_path, photo, code):
    assert await refused(pool, tmp_path, "social-card", PHOTO, photo=photo) == code
    assert (await rendered(pool, tmp_path, "badge", BADGE)).size


@pytest.mark.parametrize("reference", ["/etc/passwd", "../../../../etc/passwd", "/templates/badge/template.typ"])
async def test_a_path_in_place_of_a_picture_reaches_nothing(pool, tmp_path, reference):
    """Such an input does not pass the catalogue's check; the renderer does not rely on it."""
    assert await refused(pool, tmp_path, "social-card", PHOTO | {"photo": reference}) == "template_failed"


@pytest.mark.parametrize(
    "text",
    ['#read("/etc/passwd")', "*bold* _it_ $x$ @ref <label>", "</text></svg><script>", "\0\x1b\x7f", "\u202e\u2066abc"],
)
async def test_a_text_is_never_taken_for_a_program(pool, tmp_path, text):
    assert (await rendered(pool, tmp_path, "prompt-card", {"prompt": text}, width=128)).size


async def test_a_text_that_makes_the_text_engine_panic_is_refused_and_costs_one_child(pool, tmp_path):
    await pool.warm()
    before = child_pids()
    assert await refused(pool, tmp_path, "badge", {"label": "\u202e\t\u094d"}) == "template_failed"
    assert (await rendered(pool, tmp_path, "badge", BADGE)).size
    assert set(child_pids()).isdisjoint(before)


async def test_words_that_no_font_can_draw_are_refused_by_name(pool, tmp_path):
    with pytest.raises(RenderRefusedError) as caught:
        await rendered(pool, tmp_path, "prompt-card", {"prompt": "Lake 湖が… 🎉🎉"})
    assert caught.value.code == "characters_not_available"
    assert caught.value.detail == "no font here has the characters 湖 (U+6E56), が (U+304C), 🎉 (U+1F389)"
    assert list(tmp_path.iterdir()) == []
    everywhere = ("social-card", {"headline": "A", "byline": "漢"}), ("badge", {"label": "A", "caption": "漢"})
    for template, given in everywhere:
        assert await refused(pool, tmp_path, template, given) == "characters_not_available"


async def test_a_qr_code_may_say_what_cannot_be_drawn(pool, tmp_path):
    given = {"headline": "A lake", "qr": "https://lake.example/湖🎉"}
    assert (await rendered(pool, tmp_path, "social-card", given)).size


async def test_words_are_drawn_once_a_pack_has_their_letters(pool, tmp_path):
    words = {"prompt": ONLY_IN_SERIFS}
    assert await refused(pool, tmp_path, "prompt-card", words) == "characters_not_available"
    (tmp_path / "packs").mkdir()
    shutil.copy(typefaces.SHIPPED / "NotoSerifDisplay-Regular.ttf", tmp_path / "packs" / "More.ttf")
    more = engine.open_pool(size=1, scratch=tmp_path / "children", packs=tmp_path / "packs")
    assert (await rendered(more, tmp_path, "prompt-card", words)).size
    await more.close()


async def test_a_qr_code_that_cannot_hold_its_text_is_refused(pool, tmp_path):
    assert (
        await refused(pool, tmp_path, "social-card", PHOTO | {"qr": "x" * 5000}, photo=pictures.plain())
        == "qr_too_long"
    )


async def test_a_template_that_never_ends_is_killed_and_the_next_image_is_drawn(hostile, tmp_path):
    with pytest.raises(RenderCrashedError) as caught:
        await rendered(hostile, tmp_path, "endless", BADGE)
    assert caught.value.reason == "timed_out"
    assert (await rendered(hostile, tmp_path, "lazy", BADGE)).size
    assert list(tmp_path.glob("*.part")) == []


async def test_a_template_that_wants_all_memory_does_not_get_it(hostile, tmp_path):
    with pytest.raises(RenderCrashedError) as caught:
        await rendered(hostile, tmp_path, "greedy", BADGE)
    assert caught.value.reason in {"out_of_memory", "timed_out"}


async def test_a_template_reads_nothing_outside_its_folder(hostile, tmp_path):
    assert await refused(hostile, tmp_path, "curious", BADGE) == "template_failed"


async def test_an_image_has_exactly_one_page(hostile, tmp_path):
    assert await refused(hostile, tmp_path, "pages", BADGE) == "template_failed"


async def test_cancelling_a_render_kills_its_child_at_once(hostile, tmp_path):
    others = set(child_pids())
    await hostile.warm()
    (before,) = set(child_pids()) - others
    render = asyncio.create_task(rendered(hostile, tmp_path, "endless", BADGE))
    await asyncio.sleep(0.1)
    render.cancel()
    with pytest.raises(asyncio.CancelledError):
        await render
    await eventually(lambda: not is_alive(before), timeout=1)


async def test_the_families_of_a_pack_come_after_the_shipped_ones(tmp_path):
    packs, scratch = tmp_path / "packs", tmp_path / "children"
    packs.mkdir()
    hebrew = (typefaces.SHIPPED / "NotoSansHebrew-Bold.ttf").read_bytes()
    (packs / "Other.ttf").write_bytes(hebrew.replace("Noto Sans".encode("utf-16-be"), "Nota Sans".encode("utf-16-be")))
    pool = engine.open_pool(size=1, scratch=scratch, packs=packs)
    assert (await rendered(pool, tmp_path, "badge", BADGE)).size
    (order,) = scratch.glob("child-*/order.json")
    assert json.loads(order.read_bytes())["families"] == ["Nota Sans Hebrew"]
    await pool.close()
