"""Replaces accounts of the projection by those of its shadow, in a transaction of the owner (decision 24).

The functions run in this order, in one transaction. Nothing has changed until it is committed.
"""

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.projection.epoch import (
    change_epoch,
    new_epoch,
    read_projection,
    read_server_identity,
)
from livebalance.readmodel.rebuild import comparison
from livebalance.wire.identity import Epoch

# Readers go on. Projectors wait for a batch, then release their lanes and try again. Locks of rows could
# deadlock with a batch that moves several lanes. The order is that of `change_epoch`.
_LOCK = "lock table projection, lane in exclusive mode"

_REMOVE = (
    "delete from transfer where account_id = any($1)",
    "delete from balance where account_id = any($1)",
)
# Transfers that the shadow has erased but not deleted are not copied, so nothing is left to delete.
_BALANCES = "select * from balance where account_id = any($1)"
_TRANSFERS = """
select t.* from transfer t join balance b using (account_id)
 where account_id = any($1) and t.revision > b.erased_revision
"""
_INSERT_BALANCES = """
insert into balance
select r.* from jsonb_array_elements($1::text::jsonb) e
 cross join lateral jsonb_populate_record(null::balance, e || jsonb_build_object(
       'deleted_revision', e -> 'erased_revision', 'updated_at', now())) r
"""
_INSERT_TRANSFERS = (
    "insert into transfer select * from jsonb_populate_recordset(null::transfer, $1::text::jsonb)"
)
_QUARANTINE_COLUMNS = (
    "topic, partition, source_offset, key, value, headers, header_bytes, kafka_time, reason, state,"
    " rejected_by"
)
_INSERT_QUARANTINED = f"""
insert into quarantine ({_QUARANTINE_COLUMNS})
select {_QUARANTINE_COLUMNS} from jsonb_populate_recordset(null::quarantine, $1::text::jsonb)
"""
_SETTLE_APPLIED = """
update quarantine q set state = 'applied'
  from jsonb_to_recordset($1::text::jsonb) as a (topic text, partition int, source_offset bigint)
 where q.topic = a.topic and q.partition = a.partition and q.source_offset = a.source_offset
   and q.rejected_by = 'projector' and q.state in ('held', 'replay')
"""


async def hold_lanes(live: Connection) -> None:
    """Holds all lanes at their offsets until the transaction ends.

    Raises:
        asyncpg.LockNotAvailableError: A batch did not end within the connection's `lock_timeout`.
    """
    await live.execute(_LOCK)


async def replace_accounts(live: Connection, shadow: Connection) -> None:
    """Replaces the accounts that differ. An account that the shadow does not have is removed."""
    async for ids in comparison.suspects(shadow):
        for statement in _REMOVE:
            await live.execute(statement, ids)
        async for rows in comparison.json_chunks(shadow, _BALANCES, ids):
            await live.execute(_INSERT_BALANCES, rows)
        async for rows in comparison.json_chunks(shadow, _TRANSFERS, ids):
            await live.execute(_INSERT_TRANSFERS, rows)


async def replace_quarantined(live: Connection, shadow: Connection, transfers_topic: str) -> None:
    """Adds records that only the shadow rejects, and settles transfers that it has applied."""
    async for rows in comparison.json_chunks(shadow, comparison.MISSING_RECORDS):
        await live.execute(_INSERT_QUARANTINED, rows)
    async for rows in comparison.json_chunks(shadow, comparison.APPLIED_RECORDS, transfers_topic):
        await live.execute(_SETTLE_APPLIED, rows)


# What was compared with Kafka was the projection before: it is compared again.
_FORGET_COMPARISONS = "delete from reconciliation; delete from reconciliation_lane"
_RECORD = "insert into intervention (what, was, became, why) values ('epoch', $1, $2, $3)"


async def begin_epoch(live: Connection, why: str) -> Epoch:
    """Begins a new epoch and records who began it. The lanes' owners count their accounts and sets again.

    Raises:
        LookupError: The database contains no projection.
    """
    projection = await read_projection(live)
    if projection is None:
        raise LookupError("this database contains no projection")
    new = new_epoch()
    await change_epoch(live, projection.epoch, new, await read_server_identity(live))
    await live.execute("update lane set totals_generation = null, kept_since = generation + 1")
    await live.execute(_FORGET_COMPARISONS)
    await live.execute(_RECORD, projection.epoch, new, why)
    return new
