"""The same account in SQL."""

import asyncpg

from tests.acceptance.page.view import Row

_ROWS = """
    select transfer_id, revision, amount::text, total::text from transfer
    where account_id = $1 and revision <= $2 and revision > $3 order by revision desc
"""


async def rows(postgres: str, account: str, upto: int, above: int = 0) -> list[Row]:
    """The transfers of `account` with a revision in (above, upto], newest first."""
    connection = await asyncpg.connect(postgres)
    try:
        return [Row(*row) for row in await connection.fetch(_ROWS, account, upto, above)]
    finally:
        await connection.close()


async def count(postgres: str, account: str) -> int:
    """How many transfers of `account` there are."""
    connection = await asyncpg.connect(postgres)
    try:
        return int(await connection.fetchval("select count(*) from transfer where account_id = $1", account))
    finally:
        await connection.close()
