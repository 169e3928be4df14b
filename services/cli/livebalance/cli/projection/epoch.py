"""`livebalance epoch`: ending the life of the projection that clients know, after Postgres was restored."""

import asyncio
import json
from typing import Annotated, NamedTuple

import typer

from livebalance.cli.errors import UserError
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.operator_actions import bump_epoch
from livebalance.readmodel.projector_writes import projection, server_identity
from livebalance.wire.identity import Epoch

_UNDONE = "the epoch was not changed"

app = typer.Typer(help="Which life of the projection this is.", no_args_is_help=True)


class EpochChange(NamedTuple):
    was: Epoch
    now: Epoch


@app.callback()
def epoch() -> None:
    """Which life of the projection this is."""


@app.command()
def bump(
    why: Annotated[str, typer.Option(help="Stands in the table for who reads it later.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Begin another epoch: after each restore, before a projector or a gateway starts.

    What clients have may be of commits that were lost: each gets a snapshot, with the reason epoch.
    """
    done = asyncio.run(_bumped(why))
    if as_json:
        typer.echo(json.dumps({"was": done.was, "now": done.now}))
    else:
        typer.echo(f"The epoch was {done.was} and is {done.now} now: every client will get a snapshot.")


async def _bumped(why: str) -> EpochChange:
    """Raises UserError."""
    async with operator_connection(_UNDONE) as connection:
        if (await server_identity(connection)).timeline == "standby":
            raise UserError(f"{_UNDONE}: this server is a standby, promote it first")
        found = await projection(connection)
        if found is None:
            raise UserError(f"{_UNDONE}: nothing was ever projected into this database")
        now = await bump_epoch(connection, found.epoch, why)
        if now is None:
            raise UserError(f"{_UNDONE}: somebody else changed it at this moment; look who, then do it again")
        return EpochChange(found.epoch, now)
