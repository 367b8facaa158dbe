"""Drawing: the child processes and how far they are confined here, and the fonts."""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from cli.checks.finding import Finding, Subject, bad, good, note
from domain.generations.engines import template as template_engine
from domain.generations.engines.template import RenderRequest
from domain.templates import catalogue, typefaces
from domain.templates.geometry import Output
from runtime.child import Confinement
from runtime.settings import Settings

SAMPLE: Final = "badge"
MISSING: Final = {
    "no_network": "it can reach the network: allow unprivileged user namespaces, or cut the container's network",
    "dies_with_parent": "it outlives a worker that is killed, until its next answer",
    "memory_limit": "its memory is not limited: give the container a limit",
    "cpu_limit": "its CPU time is limited by the wall clock alone",
}
PACKS: Final = {"CJK": ("cjk", "sanssc", "sansjp", "sanskr", "sanstc"), "colour emoji": ("emoji",)}
"""What the names of their font files hold."""


async def children(subject: Subject) -> list[Finding]:
    """Draws one image, in a child process of its own."""
    with tempfile.TemporaryDirectory(prefix="atelier-doctor-") as scratch:
        folder = Path(scratch)
        pool = template_engine.open_pool(size=1, scratch=folder / "children", packs=_packs(subject.settings))
        try:
            await pool.warm()
            applied = await pool.confinement()
            example = catalogue.get(SAMPLE).example
            request = RenderRequest(template=SAMPLE, input=example, output=Output(), folder=folder)
            drawn = await template_engine.render(pool, request)
        finally:
            await pool.close()
    says = f"a child process draws {drawn.width} x {drawn.height} pixels in {drawn.render_ms:.0f} ms"
    return [good("rendering", f"{says}; {subject.settings.image_workers} at once in a worker"), *confinement(applied)]


def confinement(applied: Confinement) -> list[Finding]:
    applies = msgspec.structs.asdict(applied)
    lacking = [MISSING[name] for name, there in applies.items() if not there]
    kept = ", ".join(name.replace("_", " ") for name, there in applies.items() if there)
    found = [good("confinement", f"of a child that draws: {kept}")] if kept else []
    return [*found, *(note("confinement", text) for text in lacking)]


async def fonts(subject: Subject) -> list[Finding]:
    settings = subject.settings
    packs = _packs(settings)
    shipped = len(typefaces.files(None))
    if packs is None:
        advice = "put Noto fonts into a folder and name it in ATELIER_FONTS_DIR"
        return [
            good("fonts", f"{shipped} are shipped: Latin, Arabic, Devanagari, Hebrew"),
            note("fonts", f"no {' and no '.join(PACKS)}: their characters are drawn as boxes", advice),
        ]
    if not await asyncio.to_thread(packs.is_dir):
        return [bad("fonts", f"{packs} is no folder", "correct ATELIER_FONTS_DIR")]
    names = [path.name.lower() for path in await asyncio.to_thread(typefaces.files, packs)]
    found = [good("fonts", f"{shipped} are shipped, {len(names) - shipped} more are in {packs}")]
    for pack, parts in PACKS.items():
        if not any(part in name for name in names for part in parts):
            found.append(note("fonts", f"no {pack}: its characters are drawn as boxes"))
    return found


def _packs(settings: Settings) -> Path | None:
    return settings.fonts_dir if settings.fonts_dir != Path() else None
