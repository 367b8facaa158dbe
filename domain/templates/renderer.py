"""The program of the renderer's child processes: Typst draws, Pillow makes what Typst does not, segno makes QR codes.

It sees one folder: its own scratch, with a copy of the templates and the pictures of the present order. It has fonts,
no network and no environment, so a template can read nothing else.
"""

import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import segno
import typst
from PIL import Image

from domain.templates import coverage, pictures, rendering, typefaces
from domain.templates.geometry import Canvas
from domain.templates.rendering import Order, Refused, Rendered, Setup, Unstored
from runtime import child, failpoints
from storage import keys, shelf
from storage.errors import StorageFullError, StorageUnavailableError

MOST_NAMED: Final = 10


class PagesError(Exception):
    """The template made several pages."""


class _Renderer:
    """A compiler per template, kept warm; fonts are loaded once. What it draws it puts away by itself where it can:
    files cost the event loop of its parent more than they cost here.
    """

    def __init__(self, setup: Setup) -> None:
        self.root = Path.cwd()
        shutil.copytree(
            setup.templates, self.root / "templates", ignore=shutil.ignore_patterns("*.png", "*.jpg", "*.json")
        )
        (self.root / "pictures").mkdir()
        self.fonts = typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=list(typefaces.folders(setup.packs))
        )
        shipped = {info.family for info in typst.Fonts(False, False, [typefaces.SHIPPED]).fonts()}
        self.families = sorted(set(self.fonts.families()) - shipped)
        self.compilers: dict[str, typst.Compiler] = {}
        self.packs = setup.packs
        self.order = (self.root / "order.json").open("wb", buffering=0)

    @cached_property
    def covered(self) -> frozenset[int]:
        """Read when the first words come that are more than ASCII."""
        return coverage.of(typefaces.for_any_words(self.packs))

    def render(self, order: Order) -> Rendered | Refused:
        """Raises StorageUnavailableError."""
        began = time.perf_counter()
        if missing := self._missing(order):
            return Refused("characters_not_available", f"no font here has the characters {_named(missing)}")
        try:
            body = _encoded(self._drawn(order), order.canvas)
        except pictures.PictureRefusedError as refusal:
            return Refused(refusal.code, refusal.detail)
        except segno.DataOverflowError:
            return Refused("qr_too_long", "that is more than a QR code can hold")
        except PagesError:
            return Refused("template_failed", "the template does not make exactly one page")
        except typst.TypstError as error:
            return Refused("template_failed", error.message[:500])
        finally:
            for leftover in (self.root / "pictures").iterdir():
                leftover.unlink()
        drawn, sha256 = time.perf_counter(), hashlib.sha256(body).hexdigest()
        path = self._put_away(order, body, sha256)
        width, height = order.canvas.pixels
        return Rendered(
            path=path,
            sha256=sha256,
            size=len(body),
            width=width,
            height=height,
            render_ms=round((drawn - began) * 1000, 3),
            write_ms=round((time.perf_counter() - drawn) * 1000, 3),
        )

    def _put_away(self, order: Order, body: bytes, sha256: str) -> Path:
        failpoints.hit("render.after_draw")
        if order.shelf is None:
            _write(order.target, body)
            return order.target
        key = keys.content_key(order.shelf.namespace, sha256, order.canvas.format)
        shelf.put(order.shelf.folder, key, body, content_type=order.shelf.content_type, sha256=sha256)
        return order.shelf.folder / key

    def _missing(self, order: Order) -> list[str]:
        """Pictures and codes are not set as text."""
        texts = [words for pointer, words in _texts(order.input, "") if pointer not in {*order.pictures, "/qr"}]
        if all(words.isascii() for words in texts):
            return []
        return coverage.missing("".join(texts), self.covered)

    def _drawn(self, order: Order) -> bytes:
        canvas = order.canvas
        given = self._with_pictures(order)
        asked: dict[str, Any] = {
            "input": given,
            "width": canvas.width,
            "height": canvas.height,
            "families": self.families,
            "qr": _qr(given["qr"]) if given.get("qr") else None,
        }
        self._lay_out(msgspec.json.encode(asked))
        return self._compiled(order.template, canvas)

    def _lay_out(self, asked: bytes) -> None:
        """In a file, not as `sys_inputs`: those are part of the standard library, whose change empties the compiler's
        caches. Always the same one, and never cut to nothing: file systems take that for an unsafe replacement and
        flush it, which costs half as much as the picture.
        """
        self.order.seek(0)
        self.order.write(asked)
        self.order.truncate()

    def _compiled(self, template: str, canvas: Canvas) -> bytes:
        form: Literal["pdf", "png"] = "pdf" if canvas.format == "pdf" else "png"
        try:
            drawn = self._compiler(template).compile(format=form, ppi=72 * canvas.scale, timestamp=0)
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust; it has no importable class, and is no Exception
                raise
            refusal = Refused("template_failed", "this text cannot be set: some sequence of its characters is at fault")
            raise child.LastAnswer(rendering.encode(refusal)) from None
        if not isinstance(drawn, bytes):
            raise PagesError
        return drawn

    def _compiler(self, name: str) -> typst.Compiler:
        if name not in self.compilers:
            self.compilers[name] = typst.Compiler(
                self.root / "templates" / name / "template.typ",
                root=self.root,
                font_paths=self.fonts,
                ignore_system_fonts=True,
                package_path=self.root / "packages",
                package_cache_path=self.root / "packages",
            )
        return self.compilers[name]

    def _with_pictures(self, order: Order) -> dict[str, Any]:
        """The input with each picture's reference replaced by the path at which the template finds it."""
        most = 2 * max(order.canvas.pixels)
        given = msgspec.json.decode(msgspec.json.encode(order.input), type=dict[str, Any])
        for number, (pointer, source) in enumerate(sorted(order.pictures.items())):
            prepared = pictures.prepare(source, self.root / "pictures" / f"{time.monotonic_ns()}-{number}", most)
            _put(given, pointer, f"/pictures/{prepared.name}")
        return given


def _encoded(drawn: bytes, canvas: Canvas) -> bytes:
    if canvas.format in {"png", "pdf"}:
        return drawn
    encoded = io.BytesIO()
    with Image.open(io.BytesIO(drawn), formats=("PNG",)) as picture:
        if canvas.format == "jpeg":
            picture.convert("RGB").save(encoded, "JPEG", quality=canvas.quality, subsampling=0, optimize=True)
        else:
            picture.save(encoded, "WEBP", quality=canvas.quality, method=2)
    return encoded.getvalue()


def _qr(text: str) -> str:
    svg = io.BytesIO()
    segno.make(text, micro=False, error="m").save(svg, kind="svg", border=0, omitsize=True, xmldecl=False)
    return svg.getvalue().decode()


def _texts(value: object, pointer: str) -> Iterator[tuple[str, str]]:
    """Every text of an input with the JSON pointer that leads there."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _texts(part, f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _texts(part, f"{pointer}/{index}")


def _named(characters: list[str]) -> str:
    shown = ", ".join(f"{character} (U+{ord(character):04X})" for character in characters[:MOST_NAMED])
    return shown if len(characters) <= MOST_NAMED else f"{shown} and {len(characters) - MOST_NAMED} more"


def _put(value: Any, pointer: str, what: str) -> None:
    """Replaces what a JSON pointer (RFC 6901) points at."""
    *way, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.removeprefix("/").split("/"))
    for part in way:
        value = value[int(part)] if isinstance(value, list) else value[part]
    value[int(last) if isinstance(value, list) else last] = what


def _write(target: Path, body: bytes) -> None:
    """Under its name it is whole. To see that it is on the disk is the store's, which does so with its copy."""
    unfinished = rendering.unfinished(target)
    with unfinished.open("wb") as file:
        file.write(body)
    unfinished.rename(target)


def _handle(renderer: _Renderer, call: bytes) -> bytes:
    try:
        return rendering.encode(renderer.render(rendering.decode(call, Order)))
    except StorageUnavailableError as error:
        return rendering.encode(Unstored(isinstance(error, StorageFullError), str(error)))


def start(init: bytes) -> Callable[[bytes], bytes]:
    # The children keep all cores busy; on a large machine Typst's threads would eat the limit on memory.
    os.putenv("RAYON_NUM_THREADS", "1")
    return partial(_handle, _Renderer(rendering.decode(init, Setup)))
