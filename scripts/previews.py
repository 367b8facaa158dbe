"""Draws each built-in template's example, with the sample pictures, as its `preview.png`.

`python -m scripts.previews` after a change to a template; the tests tell when that was forgotten.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from domain.generations.engines import template as engine
from domain.generations.engines.template import Output, RenderRequest
from domain.templates import catalogue
from domain.templates.catalogue import Template
from runtime.children import ChildPool

SAMPLES: Final = catalogue.BUILTIN / "samples"
WIDTH: Final = 600


def request(template: Template, folder: Path) -> RenderRequest:
    fields = template.schema["properties"]
    samples = {name: SAMPLES / field["x-sample"] for name, field in fields.items() if "x-sample" in field}
    return RenderRequest(
        template=template.name,
        input=template.example | {name: f"https://pictures.example/{path.name}" for name, path in samples.items()},
        output=Output(scale=min(1.0, WIDTH / template.size[0])),
        folder=folder,
        pictures={f"/{name}": path for name, path in samples.items()},
    )


async def draw(pool: ChildPool, template: Template, folder: Path) -> bytes:
    rendered = await engine.render(pool, request(template, folder))
    return await asyncio.to_thread(rendered.path.read_bytes)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pool = engine.open_pool(size=1, scratch=Path(folder) / "children")
        try:
            for template in catalogue.all_templates().values():
                (template.folder / "preview.png").write_bytes(await draw(pool, template, Path(folder)))
        finally:
            await pool.close()


if __name__ == "__main__":
    asyncio.run(main())
