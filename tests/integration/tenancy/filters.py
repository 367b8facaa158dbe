"""Takes the filters on the organization out of every statement, as if each had been forgotten."""

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, Column, event, true
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import ClauseElement

from runtime.orm import ORGANIZATION


class Stripped:
    """How many filters were taken out."""

    def __init__(self) -> None:
        self.filters = 0

    def rewrite(self, statement: Any) -> Any:
        return visitors.replacement_traverse(statement, {}, self._replaced)

    def _replaced(self, element: Any, **_: Any) -> ClauseElement | None:
        if not isinstance(element, BinaryExpression) or element.operator is not operators.eq:
            return None
        sides = (element.left, element.right)
        compares = any(isinstance(side, Column) and side.name == ORGANIZATION for side in sides)
        if not compares or not any(isinstance(side, BindParameter) for side in sides):
            return None
        self.filters += 1
        return true()


@contextlib.contextmanager
def stripped(engine: AsyncEngine) -> Iterator[Stripped]:
    found = Stripped()

    def before(_: Any, statement: Any, multiparams: Any, params: Any, __: Any) -> tuple[Any, Any, Any]:
        return found.rewrite(statement) if isinstance(statement, ClauseElement) else statement, multiparams, params

    event.listen(engine.sync_engine, "before_execute", before, retval=True)
    try:
        yield found
    finally:
        event.remove(engine.sync_engine, "before_execute", before)
