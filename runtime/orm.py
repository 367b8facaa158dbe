"""What every table shares: the naming convention, text ids, UTC timestamps, and the marks that tenancy reads."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import DateTime, MetaData, String, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

ORGANIZATION = "organization_id"
"""Every table with this column has forced row-level security on it (the migrations and a gate test see to it)."""

_C = String(64, collation="C")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy as a class attribute
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        str: Text,
    }


Id = Annotated[str, mapped_column(_C)]
"""A prefixed id (see `runtime.ids`); collation C makes its order the order of creation."""

IdKey = Annotated[str, mapped_column(_C, primary_key=True)]
OrganizationKey = Annotated[str, mapped_column(_C, primary_key=True)]
OrganizationId = Annotated[str, mapped_column(_C)]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
