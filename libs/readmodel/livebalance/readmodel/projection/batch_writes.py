"""The statement that writes a batch in one round trip, behind the fence (decision 9)."""

from collections.abc import Sequence
from typing import NamedTuple

from livebalance.readmodel.connection import Connection, timestamptz
from livebalance.readmodel.projection.arrays import arrays, columns, literals, texts
from livebalance.readmodel.projection.lane_writes import MOVE
from livebalance.readmodel.rows import BalanceRow, BatchRows, LaneMove, QuarantineRow, TransferRow

# Settings of a projector's connections. All statements find rows by their keys. A generic plan saves planning
# for each batch, which takes longer than running it. Without scans, a plan made while a table was small stays
# good.
SETTINGS = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

_COLUMNS = [
    "revision",
    "lane",
    "balance",
    "scale",
    "currency",
    "version",
    "transfer_id",
    "client_id",
    "opening",
    "posted_total",
    "transfer_count",
    "half_applied",
    "drift",
    "unverified_since",
    "disputed_since",
    "disputed_why",
    "transfers_offset",
    "balances_offset",
    "recorded_at",
    "opening_known",
    "erased_transfers_before",
    "erased_balances_before",
    "erased_revision",
    "half_applied_since",
    "erased_offset",
]
_BALANCE_TYPES = (
    "text int8 int8 int numeric int2 text int8 text text numeric numeric int8 numeric numeric int8 int8 text"
    " int8 int8 int8 bool int8 int8 int8 int8 int8"
)
_TRANSFER_TYPES = "text int8 text numeric numeric int8 int8 int int8"
_TIMES = {"unverified_since", "disputed_since", "recorded_at", "half_applied_since"}


def _value(column: str) -> str:
    return timestamptz(f"x.{column}") if column in _TIMES else f"x.{column}"


def _new_value(column: str) -> str:
    if column == "erased_revision":
        return "greatest(b.erased_revision, x.erased_revision)"
    return _value(column)


_FIRST_BALANCE = 1 + len(LaneMove._fields)  # numbers of the parameters that follow
_FIRST_TRANSFER = _FIRST_BALANCE + len(BalanceRow._fields)
_TOPIC = _FIRST_TRANSFER + len(TransferRow._fields)

# A CTE runs after the CTEs that it selects from: nothing is written before the fence is checked, and no
# transfer is inserted before the erased transfers that it replaces are deleted.
_WRITE = f"""
with moved as ({MOVE} returning l.lane),
fence as materialized (select count(*) = cardinality($1) as holds from moved),
account as materialized (
  select x.* from fence, unnest({literals(_BALANCE_TYPES, _FIRST_BALANCE)})
    as x (account_id, was, {", ".join(_COLUMNS)})
   where fence.holds),
changed as (
  update balance b set {", ".join(f"{column} = {_new_value(column)}" for column in _COLUMNS)},
                       updated_at = now()
    from account x where b.account_id = x.account_id and b.revision = x.was returning 1),
opened as (
  insert into balance (account_id, {", ".join(_COLUMNS)})
  select x.account_id, {", ".join(map(_value, _COLUMNS))} from account x where x.was = 0
  on conflict (account_id) do nothing returning 1),
posted as materialized (
  select x.* from fence, unnest({literals(_TRANSFER_TYPES, _FIRST_TRANSFER)})
    as x (account_id, revision, transfer_id, amount, total, occurred_ms, recorded_ms, lane, source_offset)
   where fence.holds),
replaced as (
  delete from transfer t
   using posted x left join balance b on b.account_id = x.account_id
         left join (select * from account where erased_revision > 0) a on a.account_id = x.account_id
   where ${_TOPIC + 1}::bool and t.account_id = x.account_id and t.transfer_id = x.transfer_id
     and t.revision <= greatest(b.erased_revision, a.erased_revision)
  returning 1),
listed as (
  insert into transfer (account_id, revision, transfer_id, amount, total, occurred_at, recorded_at, topic,
                        lane, source_offset)
  select x.account_id, x.revision, x.transfer_id, x.amount, x.total, {timestamptz("x.occurred_ms")},
         {timestamptz("x.recorded_ms")}, ${_TOPIC}, x.lane, x.source_offset
    from posted x, (select count(*) as count from replaced) gone
   where gone.count >= 0
  on conflict (account_id, transfer_id) do nothing returning 1)
select (select count(*) from moved), (select count(*) from changed) + (select count(*) from opened),
       (select count(*) from listed)
"""


class WriteResult(NamedTuple):
    """Rows written of each kind. If they are fewer than in the batch, the caller rolls back."""

    lanes: int  # fewer: another process owns a lane, and no other row was written
    balances: int  # fewer: an account is not at the revision at which it was read
    transfers: int  # fewer: a transfer is already listed


async def write_batch(connection: Connection, topic: str, batch: BatchRows) -> WriteResult:
    """Writes a batch, except its quarantined and replayed records, in one round trip behind the fence.

    Args:
        connection: A connection with an open transaction.
        topic: The topic of the transfers.
        batch: The rows.
    """
    row = await connection.fetchrow(
        _WRITE,
        *columns(batch.moves, len(LaneMove._fields)),
        *texts(batch.balances, _BALANCE_TYPES),
        *texts(batch.transfers, _TRANSFER_TYPES),
        topic,
        batch.replaces_erased,
    )
    assert row is not None
    return WriteResult(*row)


_QUARANTINE = f"""
insert into quarantine (topic, partition, source_offset, key, value, header_bytes, kafka_time, reason, state)
select x.topic, x.partition, x.source_offset, x.key, x.value, x.header_bytes, {timestamptz("x.kafka_ms")},
       x.reason, x.state
from unnest({arrays("text int int8 bytea bytea bytea int8 text text")})
  as x (topic, partition, source_offset, key, value, header_bytes, kafka_ms, reason, state)
"""


async def insert_quarantined(connection: Connection, rows: Sequence[QuarantineRow]) -> None:
    """Inserts rejected records into the quarantine."""
    await connection.execute(_QUARANTINE, *columns(rows, len(QuarantineRow._fields)))
