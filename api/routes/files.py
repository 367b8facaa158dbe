"""Pictures of customers' own, to be named in inputs by their ids."""

from dataclasses import dataclass
from typing import Annotated, Final

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, QueryParameter

from api import answers, forms, guards, pagination
from api.dependencies import Resources
from api.errors import CursorInvalid
from api.idempotency import Once, key_of
from api.pagination import CursorParameter, Limit, Listing
from api.parameters import IdempotencyKey
from api.requests import Request
from domain.api_keys.keys import Caller
from domain.files import errors, uploads
from domain.files.inspection import LARGEST_FILE
from domain.files.uploads import FileView
from runtime.database import Transaction

PATH: Final = "/v1/files"
FORM_ROOM: Final = 64 * 1024
"""Bytes for what a form puts around its file."""

Name = Annotated[str | None, QueryParameter(description="What you call it. Default: the name of the form's part.")]


@dataclass
class UploadOperation(Operation):
    def __post_init__(self) -> None:
        file = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="PNG, JPEG or WebP.")
        form = Schema(
            type=OpenAPIType.OBJECT, properties={forms.PART: file}, required=[forms.PART], additional_properties=False
        )
        content = {forms.FORM: OpenAPIMediaType(schema=form)}
        content |= {media_type: OpenAPIMediaType(schema=file) for media_type in sorted(forms.RAW)}
        self.request_body = RequestBody(content=content, required=True)


@post(
    "/",
    status_code=201,
    guards=[guards.requires("files:write")],
    request_max_body_size=LARGEST_FILE + FORM_ROOM,
    operation_class=UploadOperation,
    summary="Upload a picture",
    description="As a form with one part `file`, or as the body itself: PNG, JPEG or WebP (told by the content), up to "
    "20 MiB and 25 megapixels. What is kept is written anew: upright, in sRGB, without metadata, and of a moving "
    "picture the first frame.",
    responses=answers.creating(
        errors.FileTooLarge, errors.PictureTooLarge, errors.PictureUnreadable, errors.InspectionUnavailable
    ),
)
async def create(
    *,
    request: Request,
    resources: NamedDependency[Resources],
    caller: NamedDependency[Caller],
    name: Name = None,
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by key_of; here for the documentation
) -> Response[FileView]:
    organization, sent = caller.organization_id, await forms.file_of(request, name)
    key = await key_of(request, caller, sent.name.encode(), sent.data)
    stored = await uploads.store_picture(
        organization, sent.data, store=resources.store, inspectors=resources.inspectors, scratch=resources.scratch
    )
    async with resources.database.transaction(organization) as tx:
        once = Once(tx, organization, key, resources.keyring)
        return await once.answer(lambda: uploads.add(tx, organization, sent.name, stored, resources.urls))


@get("/", guards=[guards.requires("files:read")], summary="List files", responses=answers.reading(CursorInvalid))
async def index(
    *,
    tx: NamedDependency[Transaction],
    resources: NamedDependency[Resources],
    cursor: CursorParameter = None,
    limit: Limit = pagination.USUAL,
) -> Listing[FileView]:
    page = await uploads.page(tx, pagination.wanted(cursor, limit, PATH), resources.urls)
    return pagination.listing(page, PATH)


@get(
    "/{file_id:str}",
    guards=[guards.requires("files:read")],
    summary="Show a file",
    description="Its `url` is signed anew each time and expires.",
    responses=answers.reading(errors.FileNotFound),
)
async def show(
    *, file_id: FromPath[str], tx: NamedDependency[Transaction], resources: NamedDependency[Resources]
) -> FileView:
    return await uploads.one(tx, file_id, resources.urls)


@delete(
    "/{file_id:str}",
    status_code=204,
    guards=[guards.requires("files:write")],
    summary="Delete a file",
    description="Images that were made with it stay; a generation that waits to use it fails. Links that were given "
    "out work until they expire.",
    responses=answers.reading(errors.FileNotFound),
)
async def remove(*, file_id: FromPath[str], tx: NamedDependency[Transaction], caller: NamedDependency[Caller]) -> None:
    await uploads.remove(tx, caller.organization_id, file_id)


router = Router(PATH, route_handlers=[create, index, show, remove], tags=["Files"])
