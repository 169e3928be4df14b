"""An operator's changes to what a recorder keeps. Each is recorded in the table `intervention`."""

from typing import NamedTuple

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.quarantine import stored_headers
from livebalance.readmodel.recorder_writes import insert_rejected
from livebalance.readmodel.rows import QuarantineRow
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.headers import Headers

_RECORD = "insert into intervention (what, lane, was, became, why) values ($1, $2, $3, $4, $5)"


class HaltedPartition(NamedTuple):
    """A partition that the recorder has halted. `next_offset`: of the next transfer, None if unknown."""

    halted_why: str
    next_offset: Offset | None


async def lock_halted(connection: Connection, lane: Lane) -> HaltedPartition | None:
    """Returns a halted partition, locked until the transaction ends; None if it is not halted."""
    row = await connection.fetchrow(
        "select halted_why, coalesce(start_offset, next_offset) from recorder_lane"
        " where lane = $1 and halted_why is not null for update",
        lane,
    )
    return None if row is None else HaltedPartition(*row)


_CONTINUE = """
update recorder_lane set halted_why = null, continued = true, start_offset = coalesce($2, start_offset)
 where lane = $1
"""


async def continue_partition(
    connection: Connection, lane: Lane, halted: HaltedPartition, start: Offset | None, why: str
) -> None:
    """Lets a locked partition continue: a recorder may claim it again, and accepts its topics and balances.

    Args:
        connection: A connection of the role `operator`, with an open transaction.
        lane: The partition.
        halted: The partition, as `lock_halted` has returned it.
        start: Offset of the next transfer. None: the partition continues where it stands.
        why: The operator's reason.
    """
    await connection.execute(_CONTINUE, lane, start)
    became = None if start is None else f"offset {start}"
    await connection.execute(_RECORD, "recorder", lane, halted.halted_why, became, why)


_SKIP = """
update recorder_lane set start_offset = $2
 where lane = $1 and coalesce(start_offset, next_offset) = $3 and halted_why is not null
returning halted_why
"""


async def skip_transfer(connection: Connection, skipped: QuarantineRow, was: Offset, why: str) -> bool:
    """Quarantines the next transfer of a halted partition and moves past it. The partition stays halted.

    Args:
        connection: A connection of the role `operator`.
        skipped: The transfer.
        was: The next offset of the partition, at which the transfer was read.
        why: The operator's reason.

    Returns:
        False if the partition is no longer halted at this offset. Then nothing is written.
    """
    lane = skipped.partition
    async with connection.transaction():
        halted_why = await connection.fetchval(_SKIP, lane, skipped.source_offset + 1, was)
        if halted_why is None:
            return False
        await insert_rejected(connection, [skipped])
        record = f"{skipped.topic}/{lane}@{skipped.source_offset}: {halted_why}"
        await connection.execute(_RECORD, "skip", lane, record, None, why)
    return True


async def skip_balance(connection: Connection, skipped: QuarantineRow, why: str) -> bool:
    """Quarantines a balance that the recorder of a halted partition cannot read. The partition stays halted.

    Args:
        connection: A connection of the role `operator`.
        skipped: The balance.
        why: The operator's reason.

    Returns:
        False if the partition is not halted. Then nothing is written.
    """
    async with connection.transaction():
        halted = await lock_halted(connection, skipped.partition)
        if halted is None:
            return False
        await insert_rejected(connection, [skipped])
        record = f"{skipped.topic}/{skipped.partition}@{skipped.source_offset}: {halted.halted_why}"
        await connection.execute(_RECORD, "skip", skipped.partition, record, None, why)
    return True


class RejectedTransfer(NamedTuple):
    """A transfer that a recorder has rejected, with its bytes."""

    id: int
    topic: str
    partition: Lane
    key: bytes | None
    value: bytes
    headers: Headers


async def rejected_transfers(connection: Connection, ids: list[int]) -> list[RejectedTransfer]:
    """Returns those of the quarantined records that a recorder has rejected."""
    rows = await connection.fetch(
        "select id, topic, partition, key, value, header_bytes, headers::text from quarantine"
        " where id = any($1) and rejected_by = 'recorder' order by id",
        ids,
    )
    return [RejectedTransfer._make((*row[:5], stored_headers(*row[5:]))) for row in rows]
