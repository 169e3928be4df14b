"""`livebalance epoch`: ends the epoch of the projection after a restore of Postgres."""

import asyncio
import json
from typing import NamedTuple

import typer

from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.operator.projection_actions import bump_epoch
from livebalance.readmodel.projection.epoch import read_projection, read_server_identity
from livebalance.wire.identity import Epoch

_FAILURE = "the epoch was not changed"

app = typer.Typer(help="Show and change the epoch of the projection.", no_args_is_help=True)


class EpochChange(NamedTuple):
    """The epoch before and after the command."""

    old: Epoch
    new: Epoch


@app.callback()
def epoch() -> None:
    """Show and change the epoch of the projection."""


@app.command()
def bump(reason: Reason = "", as_json: AsJson = False) -> None:
    """Begin a new epoch: after each restore of Postgres, before a projector or a gateway starts.

    Clients may have data from commits that the restore lost. So each client gets a snapshot, with the reason
    epoch.
    """
    change = asyncio.run(_bump(reason))
    if as_json:
        typer.echo(json.dumps({"old": change.old, "new": change.new}))
    else:
        typer.echo(f"The epoch was {change.old} and is {change.new} now: every client will get a snapshot.")


async def _bump(reason: str) -> EpochChange:
    """Raises UserError."""
    async with operator_connection(_FAILURE) as connection:
        if (await read_server_identity(connection)).timeline == "standby":
            raise UserError(f"{_FAILURE}: this server is a standby; promote it first")
        projection = await read_projection(connection)
        if projection is None:
            raise UserError(f"{_FAILURE}: this database contains no projection")
        new = await bump_epoch(connection, projection.epoch, reason)
        if new is None:
            raise UserError(f"{_FAILURE}: another operator changed it just now; see the table intervention")
        return EpochChange(projection.epoch, new)
