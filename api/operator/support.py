"""The operators' API: finding what a customer speaks of."""

from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from api import answers
from api.operator import access, search, snapshots
from api.operator.search import Found
from runtime.database import SystemTransaction

Beginning = Annotated[
    str,
    QueryParameter(
        pattern="^(gen|dlv)_[0-9a-z]*$",
        max_length=64,
        description="An id of a generation or a delivery, or its beginning.",
    ),
]


class SearchResult(msgspec.Struct, frozen=True):
    """The newest first, fifty at most."""

    data: list[Found]


@get("/search", summary="Find generations and deliveries of all organizations", responses=answers.operating())
async def find(id: Beginning, snapshot: NamedDependency[SystemTransaction]) -> SearchResult:  # noqa: A002 - its name in the query
    return SearchResult(await search.by_id(snapshot, id))


router = Router(
    "/operator",
    route_handlers=[find],
    guards=[access.operator],
    dependencies={"snapshot": Provide(snapshots.provide_snapshot)},
    tags=["Support"],
)
