"""API keys: made, listed and revoked by keys that may."""

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from api import answers, guards, pagination
from api.errors import CursorInvalid
from api.idempotency import Once
from api.pagination import CursorParameter, Limit, Listing
from api.parameters import IdempotencyKey
from api.schemas.api_keys import CreatedKey, KeyRequest
from domain.api_keys import keys
from domain.api_keys.errors import KeyNotFound, ScopesTooWide, ScopeUnknown
from domain.api_keys.keys import ApiKey, Caller
from runtime.database import Transaction

PATH = "/v1/api-keys"


@post(
    "/",
    guards=[guards.requires("keys:write")],
    summary="Make an API key",
    description="The key itself is shown in this answer and never again.",
    responses=answers.creating(ScopeUnknown, ScopesTooWide),
)
async def create(
    data: JSONBody[KeyRequest],
    caller: NamedDependency[Caller],
    tx: NamedDependency[Transaction],
    once: NamedDependency[Once],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`; here for the documentation
) -> Response[CreatedKey]:
    async def effect() -> CreatedKey:
        new = await keys.create(
            tx, caller.organization_id, name=data.name, wanted=data.scopes, environment=data.environment,
            expires_at=data.expires_at, giver=caller,
        )  # fmt: skip
        return CreatedKey(api_key=new.key, secret=new.secret)

    return await once.answer(effect)


@get(
    "/",
    guards=[guards.requires("keys:read")],
    summary="List API keys",
    responses=answers.reading(CursorInvalid),
)
async def index(
    tx: NamedDependency[Transaction], cursor: CursorParameter = None, limit: Limit = pagination.USUAL
) -> Listing[ApiKey]:
    return pagination.listing(await keys.list_keys(tx, pagination.wanted(cursor, limit, PATH)), PATH)


@delete(
    "/{key_id:str}",
    status_code=200,
    guards=[guards.requires("keys:write")],
    summary="Revoke an API key",
    description="It stops working at once, everywhere within seconds. Doing it twice is fine.",
    responses=answers.reading(KeyNotFound),
)
async def revoke(key_id: FromPath[str], caller: NamedDependency[Caller], tx: NamedDependency[Transaction]) -> ApiKey:
    return await keys.revoke(tx, caller.organization_id, key_id)


router = Router(PATH, route_handlers=[create, index, revoke], tags=["API keys"])
