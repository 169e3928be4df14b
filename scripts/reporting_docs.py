"""Prints docs/reporting.md: the text of scripts/reporting.md and the comments of the schema `reporting`.

Run `python -m scripts.reporting_docs > docs/reporting.md` with the URL of a migrated database in
LIVEBALANCE_POSTGRES.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import asyncpg

from livebalance.readmodel.connection import Connection

_VIEWS = """
select c.relname, obj_description(c.oid, 'pg_class') as comment,
       array_agg(array[a.attname::text, format_type(a.atttypid, a.atttypmod),
                       col_description(c.oid, a.attnum)] order by a.attnum) as columns
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relnamespace = 'reporting'::regnamespace and c.relkind = 'v'
 group by c.oid order by c.relname
"""
_FUNCTIONS = """
select proname, pg_get_function_arguments(oid) as parameters, pg_get_function_result(oid) as returns,
       obj_description(oid, 'pg_proc') as comment
  from pg_proc where pronamespace = 'reporting'::regnamespace order by proname
"""


def table(names: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a Markdown table. Times have milliseconds, null is an empty cell."""
    lines = [list(names), *[[_text(value) for value in row] for row in rows]]
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ", "milliseconds")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


async def page(connection: Connection) -> str:
    """Returns the text of docs/reporting.md, with the comments of a migrated database."""
    views = [
        f"### `{row['relname']}`\n\n{row['comment']}.\n\n"
        + table(["column", "type", "description"], row["columns"])
        for row in await connection.fetch(_VIEWS)
    ]
    functions = [
        f"### `{row['proname']}`\n\n{row['comment']}.\n\n"
        f"Parameters: `{_short(row['parameters'])}`. Returns: `{_short(row['returns'])}`."
        for row in await connection.fetch(_FUNCTIONS)
    ]
    template = Path(__file__).with_name("reporting.md").read_text()
    return template.replace("{views}", "\n\n".join(views)).replace("{functions}", "\n\n".join(functions))


def _short(types: str) -> str:
    return types.replace("::timestamp with time zone", "").replace("timestamp with time zone", "timestamptz")


async def _print() -> None:
    connection = await asyncpg.connect(os.environ["LIVEBALANCE_POSTGRES"], timeout=10)
    try:
        sys.stdout.write(await page(connection))
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(_print())
