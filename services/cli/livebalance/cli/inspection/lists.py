"""`livebalance epoch show` and `livebalance revoke list`."""

import asyncio
from typing import Annotated

import typer

from livebalance.cli.options import AsJson
from livebalance.cli.projection.database import READ_SECONDS, operator_connection, read_projection
from livebalance.cli.projection.epoch import app as epoch
from livebalance.cli.projection.revoke import app as revoke
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.operator.status_reads import list_epoch_changes, list_revocations
from livebalance.readmodel.operator.status_rows import BegunEpoch, ListedRevocation
from livebalance.wire.timestamp import format_rfc3339

_FAILURE = "nothing can be shown"

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of rows.")]


@epoch.command("show")
def epochs(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the epoch, and the epochs that operators began, newest first.

    A projector also begins an epoch, when it detects that Postgres lost commits. Its log has that.
    """

    async def read() -> list[BegunEpoch]:
        async with operator_connection(_FAILURE, READ_SECONDS) as connection:
            return await list_epoch_changes(connection, limit)

    (_, projection), changes = asyncio.run(read_projection()), asyncio.run(read())
    current, known = (projection.epoch, projection.known) if projection else (None, None)
    if as_json:
        listed = [{**change._asdict(), "at": format_rfc3339(change.at)} for change in changes]
        print_json({"epoch": current, "known_server": known, "changes": listed})
        return
    typer.echo(f"Epoch {current}." if current else "No projector has written to this database yet.")
    if known is False:
        typer.echo("This is not the server that the projection was written to: a restore or a failover.")
    typer.echo()
    columns = ("at", "by", "lane", "was", "became", "why")
    print_table(columns, [(format_rfc3339(change.at), *change[1:]) for change in changes])


@revoke.command("list")
def revocations(
    subject: Annotated[str | None, typer.Option(help="Only revocations for this user.")] = None,
    session: Annotated[str | None, typer.Option(help="Only revocations for this login.")] = None,
    account: Annotated[str | None, typer.Option(help="Only revocations for this account.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List revocations, newest first: time, user, login, account, operator and reason."""

    async def read() -> list[ListedRevocation]:
        async with operator_connection(_FAILURE, READ_SECONDS) as connection:
            return await list_revocations(connection, subject, session, account, limit + 1)

    found = asyncio.run(read())
    listed, more = found[:limit], len(found) > limit
    if as_json:
        objects = [{**r._asdict(), "at": format_rfc3339(r.at)} for r in listed]
        print_json({"revocations": objects, "more": more})
        return
    columns = ("id", "at", "subject", "session", "account", "by", "why")
    print_table(columns, [(r.id, format_rfc3339(r.at), *r[2:]) for r in listed])
    if more:
        typer.echo("There are more revocations: raise --limit.")
