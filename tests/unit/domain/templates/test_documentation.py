"""What docs/templates.md says of the built-in templates is so."""

import re
from pathlib import Path

import pytest

from domain.templates import catalogue, geometry
from domain.templates.catalogue import Template

PAGE = (Path(__file__).parents[4] / "docs" / "templates.md").read_text()
COMMON = {"palette", "accent"}


@pytest.mark.parametrize("template", catalogue.all_templates().values(), ids=lambda template: template.name)
def test_the_page_has_each_template_with_its_size_and_its_fields(template: Template):
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{template.name}` |")]
    _, size, _, fields = row.strip("| ").split(" | ")
    assert size == "{} x {}".format(*template.size)
    assert set(re.findall(r"`(\w+)`", fields)) == set(template.schema["properties"]) - COMMON
    assert set(re.findall(r"\*\*`(\w+)`\*\*", fields)) == set(template.schema["required"])


def test_the_page_has_each_format_and_palette():
    (formats,) = re.findall(r"\| `format` \| `png` \| (.*) \|", PAGE)
    assert set(re.findall(r"`(\w+)`", formats)) == set(geometry.MEDIA_TYPES)
    palettes = catalogue.get("social-card").schema["$defs"]["palette"]["enum"]
    assert ", ".join(f"`{name}`" for name in palettes) in re.sub(r"\s+", " ", PAGE)
