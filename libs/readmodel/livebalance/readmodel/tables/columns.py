"""The metadata of all tables, and the types that their columns share."""

from typing import Any

from sqlalchemy import DateTime, MetaData, Text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = MetaData()

# Ids compare byte by byte, as in Python and TypeScript.
ID = Text(collation="C")
TIME = DateTime(timezone=True)


class Xid8(UserDefinedType[int]):
    """The type xid8 of Postgres: the id of a transaction, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Called by SQLAlchemy for the name of the type."""
        return "xid8"


ischema_names["xid8"] = Xid8  # SQLAlchemy also reads the column back as this type
