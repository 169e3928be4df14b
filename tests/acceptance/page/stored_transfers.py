"""Reads the transfers of an account from Postgres, to compare with what the page shows."""

import asyncpg

from tests.acceptance.page.account_page import Row

_ROWS = """
    select transfer_id, revision, amount::text, total::text from transfer
    where account_id = $1 and revision <= $2 and revision > $3 order by revision desc
"""


async def read_transfers(postgres: str, account: str, upto: int, above: int = 0) -> list[Row]:
    """Returns the transfers of `account` with a revision in (above, upto], newest first."""
    connection = await asyncpg.connect(postgres)
    try:
        return [Row(*row) for row in await connection.fetch(_ROWS, account, upto, above)]
    finally:
        await connection.close()


async def count_transfers(postgres: str, account: str) -> int:
    """Returns the number of transfers of `account`."""
    connection = await asyncpg.connect(postgres)
    try:
        return int(await connection.fetchval("select count(*) from transfer where account_id = $1", account))
    finally:
        await connection.close()
