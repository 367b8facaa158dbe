"""The template engine: draws a template with its input in a warm child process and leaves a finished file behind."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import msgspec

from domain.templates import catalogue, geometry, rendering
from domain.templates.geometry import Canvas, Output
from domain.templates.rendering import RENDERER, Refused, Rendered, Shelf, Unstored
from runtime.children import ChildDiedError, ChildPool, Limits
from storage.errors import StorageFullError, StorageUnavailableError

__all__ = ["RENDERER", "Output", "RenderCrashedError", "RenderRefusedError", "RenderRequest", "Rendered", "Shelf"]

_PROGRAM = "domain.templates.renderer"


class RenderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`pictures` maps the pointers of `catalogue.pictures` to files fetched already; `folder` is where the finished
    file goes (under a name of its own), unless there is a `shelf`. `ahead` of others that wait for a child.
    """

    template: str
    input: dict[str, Any]
    output: Output
    folder: Path
    shelf: Shelf | None = None
    ahead: bool = False
    pictures: dict[str, Path] = {}


class RenderRefusedError(Exception):
    """This request can never become an image: trying again is useless. `detail` may be shown to the customer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class RenderCrashedError(Exception):
    """The child process was killed, overran its time or its memory, or failed: another try may succeed."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def open_pool(*, size: int, scratch: Path, packs: Path | None = None, limits: Limits | None = None) -> ChildPool:
    """Children that have the fonts loaded; `scratch` is wiped of what they leave there, `packs` has more fonts."""
    setup = rendering.Setup(catalogue.BUILTIN, packs.absolute() if packs else None)
    init = rendering.encode(setup)
    return ChildPool(_PROGRAM, size=size, scratch=scratch, init=init, limits=limits, related=size > 1)


def canvas(template: str, output: Output) -> Canvas:
    """Raises TemplateNotFound, OutputInvalid."""
    return geometry.canvas(catalogue.get(template).size, output)


async def render(pool: ChildPool, request: RenderRequest) -> Rendered:
    """The input must have passed `catalogue.check`. Raises RenderRefusedError, RenderCrashedError, and with a shelf
    StorageUnavailableError; a cancelled render's child is killed at once.
    """
    order = rendering.Order(
        template=request.template,
        input=request.input,
        canvas=canvas(request.template, request.output),
        pictures={pointer: path.absolute() for pointer, path in request.pictures.items()},
        target=request.folder.absolute() / f"{secrets.token_hex(16)}.{request.output.format}",
        shelf=request.shelf,
    )
    try:
        answer = await pool.call(rendering.encode(order), ahead=request.ahead)
    except ChildDiedError as error:
        rendering.discard(order.target)
        raise RenderCrashedError(error.reason, error.detail) from error
    except asyncio.CancelledError:
        rendering.discard(order.target)
        raise
    match rendering.decode_outcome(answer):
        case Refused(code=code, detail=detail):
            raise RenderRefusedError(code, detail)
        case Unstored(full=full, detail=detail):
            raise StorageFullError(detail) if full else StorageUnavailableError(detail)
        case Rendered() as rendered:
            return rendered
