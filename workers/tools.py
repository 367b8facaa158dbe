"""What actors' functions may ask for by name, beside their transaction: made once per process (`toolboxes.py`)."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from domain.generations.results import FindImage
from domain.notifications.channels.base import Channel
from domain.tasks.outcomes import CarryOn, Describe, DescribeMany
from domain.webhooks.lanes import SlowEndpoints
from runtime.children import ChildPool
from runtime.database import Database, SystemDatabase
from runtime.encryption import Keyring
from runtime.outbound import Outbound
from runtime.settings import Settings
from storage.base import ObjectStore


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """A function of an actor takes those that it names as keyword-only parameters; None is what its group lacks."""

    settings: Settings
    store: ObjectStore
    outbound: Outbound
    system: SystemDatabase
    database: Database | None = None
    renderers: ChildPool | None = None
    find_image: FindImage | None = None
    keyring: Keyring | None = None
    mail: Channel | None = None
    describe: Describe | None = None
    describe_many: DescribeMany | None = None
    slow_endpoints: SlowEndpoints | None = None
    carry_on: CarryOn | None = None

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its tools filled in. Raises TypeError for one that is not there."""
        wanted = {name: getattr(self, name) for name in names(function)}
        if missing := [name for name, tool in wanted.items() if tool is None]:
            raise TypeError(f"{function.__qualname__} asks for {', '.join(missing)}, which its group does not have")

        def bound(*arguments: object) -> Any:
            return function(*arguments, **wanted)

        return bound if wanted else function


@functools.cache
def names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Raises TypeError when a function asks for a tool that there is not."""
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    wanted = tuple(name for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY)
    if unknown := set(wanted) - set(Tools.__struct_fields__):
        raise TypeError(f"{function.__qualname__} asks for {', '.join(sorted(unknown))}, which is no tool of actors")
    return wanted
