"""`livebalance quarantine show`: a quarantined record, and what its bytes mean."""

import asyncio
from typing import Annotated, Any

import typer

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson
from livebalance.cli.projection.database import READ_SECONDS, operator_connection
from livebalance.cli.projection.quarantine import app as quarantine
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.quarantine import StoredRecord, read_quarantined
from livebalance.runtime.schema.values import Values
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance, decode_transfer
from livebalance.wire.timestamp import Millis, format_rfc3339

_FAILURE = "nothing can be shown"


@quarantine.command("show")
def show(
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
