"""Commands that list lanes, epochs, revocations and quarantined records. Their groups also change these."""

import asyncio
from typing import Annotated, Any

import typer

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.inspection.status import (
    READ_SECONDS,
    lane_object,
    print_lanes,
    read_ends,
    read_projection,
)
from livebalance.cli.options import AsJson
from livebalance.cli.projection.database import operator_connection
from livebalance.cli.projection.epoch import app as epoch
from livebalance.cli.projection.lane import app as lane
from livebalance.cli.projection.quarantine import app as quarantine
from livebalance.cli.projection.revoke import app as revoke
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.operator.status_reads import list_epoch_changes, list_revocations
from livebalance.readmodel.operator.status_rows import BegunEpoch, ListedRevocation
from livebalance.readmodel.quarantine import StoredRecord, read_quarantined
from livebalance.runtime.schema.values import Values
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance, decode_transfer
from livebalance.wire.timestamp import Millis, format_rfc3339

_FAILURE = "nothing can be shown"

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of rows.")]


@lane.command("list")
def lanes(as_json: AsJson = False) -> None:
    """List all lanes: owner, lag, offsets and ends of both topics, disputes, and why a lane is halted."""

    async def read() -> Any:
        return await asyncio.gather(read_projection(), read_ends())

    (server, projection), ends = asyncio.run(read())
    listed = [] if projection is None else [lane_object(lane, server.now, ends) for lane in projection.lanes]
    if as_json:
        print_json({"lanes": listed, "kafka_error": ends.error})
    else:
        print_lanes(listed)


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


@quarantine.command("show")
def quarantined(
    id_: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="Id of the record.")],
    as_json: AsJson = False,
) -> None:
    """Show a quarantined record: where it is from, why it was rejected, its bytes, and what they mean now."""

    async def read() -> tuple[StoredRecord, dict[str, Any]]:
        async with operator_connection(_FAILURE, READ_SECONDS) as connection:
            stored = await read_quarantined(connection, id_)
        if stored is None:
            raise UserError(f"{_FAILURE}: record {id_} does not exist")
        return stored, await _decode(stored.raw)

    stored, decoded = asyncio.run(read())
    raw = stored.raw
    shown = {
        "id": stored.id,
        "state": stored.state,
        "rejected_by": stored.rejected_by,
        "reason": stored.reason,
        "source": f"{raw.topic}/{raw.partition}@{raw.offset}",
        "kafka_time": format_rfc3339(Millis(raw.timestamp)),
        "key": _printable(raw.key),
        "value_hex": None if raw.value is None else raw.value.hex(),
        "headers": [[_printable(name), _printable(value)] for name, value in raw.headers],
        **decoded,
    }
    if as_json:
        print_json(shown)
        return
    print_table(("field", "value"), shown.items())


async def _decode(raw: RawRecord) -> dict[str, Any]:
    """Returns `decoded`, the fields, and `rejected_now`, why it would be rejected again; both may be None."""
    settings = addresses.kafka()
    values = Values(settings)
    await values.fetch_schemas([raw.value])
    decode = decode_balance if raw.topic == settings.balances_topic else decode_transfer
    record = decode(raw, values.codec, settings.max_scale)
    if isinstance(record, Rejected):
        return {"decoded": None, "rejected_now": record.reason}
    if isinstance(record, Erasure):
        return {"decoded": {"account": record.account, "erased": True}, "rejected_now": None}
    return {"decoded": {name: str(value) for name, value in record._asdict().items()}, "rejected_now": None}


def _printable(value: bytes | None) -> str | None:
    """Escapes bytes of a record, so that they cannot control a terminal."""
    return None if value is None else ascii(value.decode("utf-8", "backslashreplace"))[1:-1]
