import msgspec
import pytest

from domain.templates import geometry
from domain.templates.errors import OutputInvalid
from domain.templates.geometry import Canvas, Output

NATURAL = (1200, 630)


def refused(natural: tuple[int, int] = NATURAL, **output: object) -> str:
    with pytest.raises(OutputInvalid) as caught:
        geometry.canvas(natural, Output(**output))
    (field,) = caught.value.fields
    return field.pointer


def test_a_template_has_its_natural_size():
    assert geometry.canvas(NATURAL, Output()) == Canvas("png", 1200, 630, 1.0, 85)


@pytest.mark.parametrize(
    ("output", "page"),
    [
        ({"width": 600}, (600, 315)),
        ({"height": 315}, (600, 315)),
        ({"width": 1080, "height": 1080}, (1080, 1080)),
        ({"width": 16}, (16, 8)),
        ({"width": 1001}, (1001, 526)),
    ],
)
def test_one_side_alone_keeps_the_proportions(output, page):
    if min(page) < geometry.SMALLEST_SIDE:
        assert refused(**output) == "/output/width"
    else:
        assert geometry.canvas(NATURAL, Output(**output)).pixels == page


def test_scale_multiplies_the_pixels_of_the_same_page():
    doubled = geometry.canvas(NATURAL, Output(scale=2))
    assert (doubled.width, doubled.height, doubled.pixels) == (1200, 630, (2400, 1260))
    assert geometry.canvas((256, 256), Output(scale=0.1)).pixels == (26, 26)


@pytest.mark.parametrize(
    ("output", "pointer"),
    [
        ({"width": 8192, "height": 8192}, "/output/width"),
        ({"width": 4000, "scale": 3}, "/output/scale"),
        ({"height": 8000}, "/output/height"),
        ({"width": 100, "scale": 0.1}, "/output/scale"),
        ({"format": "pdf", "scale": 2}, "/output/scale"),
        ({"format": "png", "quality": 80}, "/output/quality"),
        ({"format": "pdf", "quality": 80}, "/output/quality"),
    ],
)
def test_what_is_too_large_or_makes_no_sense_is_refused_with_its_field(output, pointer):
    assert refused(**output) == pointer


def test_twenty_five_megapixels_are_allowed():
    assert geometry.canvas(NATURAL, Output(width=5000, height=5000)).pixels == (5000, 5000)
    assert refused(width=5000, height=5001) == "/output/width"


@pytest.mark.parametrize(
    "output",
    [
        {"width": 15},
        {"width": 8193},
        {"height": 0},
        {"scale": 0.05},
        {"scale": 4.1},
        {"quality": 0},
        {"quality": 101},
        {"format": "gif"},
        {"width": "600"},
        {"dpi": 300},
    ],
)
def test_an_output_of_a_request_is_bounded_as_it_is_read(output):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(output, Output)
