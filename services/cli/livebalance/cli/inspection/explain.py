"""`livebalance explain`: where a transfer is in Kafka, in Postgres and in the deltas, and since when."""

import asyncio
from decimal import Decimal
from typing import Annotated, Any

import typer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson
from livebalance.cli.projection.database import READ_SECONDS, operator_connection
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.operator.status_rows import ExplainedTransfer
from livebalance.readmodel.operator.transfer_reads import read_listed
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.reader import read_next
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import AccountId, TransferId, channel_name, is_id
from livebalance.wire.kafka.raw_record import Rejected, decode_transfer
from livebalance.wire.timestamp import Millis, format_rfc3339

_KAFKA_SECONDS = 20.0


def explain(
    transfer: Annotated[str, typer.Argument(metavar="TRANSFER", help="Id of the transfer.")],
    account: Annotated[
        str | None,
        typer.Option(help="Only in the list of this account. Faster if there are many accounts."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a transfer, for each account that lists it: record, transaction, revision, delta and times.

    Exit code 1: no account lists it.
    """
    explained = asyncio.run(_explain(transfer, account))
    if as_json:
        print_json({"transfer": transfer, "listed": explained})
        return
    for number, fields in enumerate(explained):
        if number:
            typer.echo()
        print_table(
            ("transfer", transfer), [(name.replace("_", " "), value) for name, value in fields.items()]
        )


async def _explain(transfer: str, account: str | None) -> list[dict[str, Any]]:
    """Raises UserError."""
    for text in (transfer, account):
        if text is not None and not is_id(text):
            raise UserError(f"{text!r} is not an id: an id is 1 to 64 of A-Z a-z 0-9 . _ -")
    async with operator_connection("nothing can be explained", READ_SECONDS) as connection:
        listed = await read_listed(
            connection, TransferId(transfer), None if account is None else AccountId(account)
        )
    if not listed:
        where = f"account {account} does not list it" if account else "no account lists it"
        raise UserError(
            f"{where}: it may be erased, in quarantine (livebalance quarantine list), or not applied yet"
            " (livebalance lane list)"
        )
    settings = addresses.kafka()
    records = await asyncio.gather(*(_compare(settings, row) for row in listed))
    return [_fields(row, record) for row, record in zip(listed, records, strict=True)]


def _fields(row: ExplainedTransfer, record: str) -> dict[str, Any]:
    """Returns the fields for --json. A delta may contain further revisions, before and after."""
    return {
        "account": row.account,
        "amount": row.amount,
        "balance_after": row.balance_after,
        "in_balance": row.in_balance,
        "record": f"{row.topic}/{row.lane}@{row.offset}",
        "record_in_kafka": record,
        "occurred_at": format_rfc3339(row.occurred_at),
        "recorded_at": format_rfc3339(row.recorded_at),
        "transaction": row.transaction,
        "committed_at": _time(row.committed_at),
        "epoch": row.epoch,
        "revision": row.revision,
        "delta_from": row.revision - 1,
        "delta_to": row.revision,
        "channel": channel_name(row.account),
    }


def _time(at: Millis | None) -> str | None:
    return None if at is None else format_rfc3339(at)


async def _compare(settings: ServiceSettings, row: ExplainedTransfer) -> str:
    """Returns whether Kafka still has the record, and whether it agrees with the row."""
    partition = TopicPartition(row.topic, row.lane)
    try:
        raw = await read_next(settings.broker, partition, row.offset, _KAFKA_SECONDS)
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        return f"not read: {' '.join(str(cause).split()) or type(cause).__name__}"
    if raw is None or raw.offset != row.offset:
        return "Kafka no longer has it"
    values = Values(settings)
    await values.fetch_schemas([raw.value])
    record = decode_transfer(raw, values.codec, settings.max_scale)
    if isinstance(record, Rejected):
        return f"differs: it would be rejected now ({record.reason})"
    fields = {
        "account": (record.account, row.account),
        "transfer": (record.id, row.transfer),
        "amount": (Decimal(str(record.amount)), Decimal(row.amount)),
    }
    differing = [name for name, (in_kafka, in_sql) in fields.items() if in_kafka != in_sql]
    return f"differs: {', '.join(differing)}" if differing else "equal"
