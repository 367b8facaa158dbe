"""Uploaded pictures, good and hostile, through the real child process."""

import asyncio
import hashlib
import io
import subprocess
import sys
import zlib
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageCms

from domain.files import inspection
from domain.files.errors import FileTooLarge, InspectionUnavailable, PictureTooLarge, PictureUnreadable
from runtime.children import ChildPool, Limits
from tests import pictures


@pytest.fixture
async def pool(tmp_path):
    opened = inspection.open_pool(tmp_path / "children")
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


async def kept(pool: ChildPool, data: bytes, folder: Path) -> tuple[inspection.Inspected, Image.Image, bytes]:
    inspected = await inspection.inspect(pool, data, folder=folder)
    body = Path(inspected.path).read_bytes()
    assert (hashlib.sha256(body).hexdigest(), len(body)) == (inspected.sha256, inspected.bytes)
    picture = Image.open(io.BytesIO(body))
    picture.load()
    assert (picture.size, picture.format.lower()) == ((inspected.width, inspected.height), inspected.format)
    return inspected, picture, body


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_stays_of_its_kind_and_size(kind, pool, folder):
    inspected, _, _ = await kept(pool, pictures.plain(kind), folder)
    assert (inspected.content_type, inspected.width, inspected.height) == (f"image/{kind.lower()}", 40, 20)


async def test_a_picture_is_turned_upright_and_nothing_that_it_carried_is_kept(pool, folder):
    sent = pictures.with_metadata()
    assert sent.count(b"secret") == 3
    _, picture, body = await kept(pool, sent, folder)
    assert picture.size == (20, 40)
    assert picture.getpixel((10, 5))[0] > 200
    assert picture.getpixel((10, 5))[1] < 60
    assert picture.getpixel((10, 35))[1] > 200
    assert b"secret" not in body
    assert not picture.getexif()


@pytest.mark.parametrize(
    "sent",
    [
        pictures.plain() + b"<script>secret</script>",
        pictures.with_chunk(b"tEXt", b"Comment\0secret"),
        pictures.plain("JPEG") + b"PK\x03\x04 secret.zip",
    ],
)
async def test_what_hides_in_a_picture_is_left_behind(sent, pool, folder):
    _, _, body = await kept(pool, sent, folder)
    assert b"secret" not in body
    assert b"PK\x03\x04" not in body


async def test_sixteen_bits_of_grey_are_not_cut_off(pool, folder):
    _, picture, _ = await kept(pool, pictures.encoded(Image.new("I;16", (4, 4), 0x8000), "PNG"), folder)
    assert picture.getpixel((0, 0)) == (128, 128, 128)


async def test_transparency_of_a_palette_is_kept(pool, folder):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    _, picture, _ = await kept(pool, pictures.encoded(palette, "PNG", transparency=1), folder)
    assert picture.getpixel((0, 0)) == (255, 0, 0, 0)


async def test_colours_of_another_space_come_out_in_srgb(pool, folder):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    _, picture, _ = await kept(pool, pictures.encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), folder)
    assert picture.mode == "RGB"
    red = pictures.encoded(Image.new("RGB", (8, 8), (200, 30, 30)), "PNG", icc_profile=lab.tobytes())
    _, picture, _ = await kept(pool, red, folder)
    assert max(abs(one - other) for one, other in zip(picture.getpixel((0, 0)), (200, 30, 30), strict=True)) < 3
    assert "icc_profile" not in picture.info


async def test_a_broken_colour_profile_is_passed_over(pool, folder):
    sent = pictures.encoded(Image.new("RGB", (8, 8), (200, 30, 30)), "PNG", icc_profile=b"nonsense" * 20)
    _, picture, _ = await kept(pool, sent, folder)
    assert picture.getpixel((0, 0)) == (200, 30, 30)


async def test_of_a_moving_picture_the_first_frame_is_kept(pool, folder):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    sent = pictures.encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    _, picture, _ = await kept(pool, sent, folder)
    assert getattr(picture, "n_frames", 1) == 1
    assert picture.getpixel((4, 4))[0] > 200


@pytest.mark.parametrize("side", [5001, 9500, 13000, 20000])
async def test_a_bomb_is_refused_before_it_is_unpacked(side, pool, folder):
    with pytest.raises(PictureTooLarge):
        await inspection.inspect(pool, pictures.bomb(side), folder=folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        pictures.plain()[:-30],
        pictures.plain("JPEG")[:-200],
        pictures.plain("WEBP")[:-20],
        pictures.plain("GIF"),
        pictures.plain("BMP"),
        pictures.plain("TIFF"),
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        pictures.with_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000), 1)),
        pictures.plain().replace(b"IDAT", b"IDAX"),
    ],
    ids=lambda sent: repr(sent[:8]),
)
async def test_what_is_no_whole_picture_is_refused(sent, pool, folder):
    with pytest.raises(PictureUnreadable):
        await inspection.inspect(pool, sent, folder=folder)
    assert list(folder.iterdir()) == []


async def test_a_picture_that_is_refused_costs_no_child(pool, folder):
    await pool.warm()
    before = psutil.Process().children()
    for sent in (pictures.bomb(9500), b"nonsense", pictures.plain()):
        await asyncio.gather(inspection.inspect(pool, sent, folder=folder), return_exceptions=True)
    assert psutil.Process().children() == before


async def test_twenty_mebibytes_are_too_many_to_be_looked_at(pool, folder):
    with pytest.raises(FileTooLarge):
        await inspection.inspect(pool, bytes(inspection.LARGEST_FILE + 1), folder=folder)


async def test_a_picture_that_takes_too_long_is_too_large(tmp_path, folder):
    hasty = ChildPool("domain.files.inspector", size=1, scratch=tmp_path / "children", limits=Limits(wall=0.01))
    with pytest.raises(PictureTooLarge):
        await inspection.inspect(hasty, pictures.plain(size=(5000, 5000)), folder=folder)
    await hasty.close()


async def test_without_a_child_the_caller_is_asked_to_come_again(tmp_path, folder):
    poor = ChildPool("domain.files.inspector", size=1, scratch=tmp_path / "children", limits=Limits(memory=1 << 20))
    with pytest.raises(InspectionUnavailable) as refused:
        await inspection.inspect(poor, pictures.plain(), folder=folder)
    assert refused.value.retry_after == 1
    await poor.close()


def test_the_asking_process_loads_no_decoder():
    code = "import sys, domain.files.uploads; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
