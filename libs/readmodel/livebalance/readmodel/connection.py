"""A connection to the read model, and how values pass through it: numbers, times, counts of rows."""

from typing import TypeAlias

import asyncpg

from livebalance.wire.money import parse_money

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def set_numeric_codec(connection: Connection) -> None:
    """Lets a new connection return amounts as Money, with their scale."""
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=parse_money, format="text"
    )


def timestamptz(name: str) -> str:
    """Returns SQL that converts ms to timestamptz, exactly: `to_timestamp` rounds, as it takes a double."""
    return f"(to_timestamp({name} / 1000) + ({name} % 1000) * interval '1 millisecond')"


def milliseconds(name: str) -> str:
    """Returns SQL that converts timestamptz to ms."""
    return f"(extract(epoch from {name}) * 1000)::bigint"


def row_count(status: str) -> int:
    """Returns the number of rows in a command tag, as "UPDATE 3" or "INSERT 0 3"."""
    return int(status.rpartition(" ")[2])
