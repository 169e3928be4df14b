"""Statements that read accounts and listed transfers: the state that the fold of a batch continues from."""

from collections.abc import Mapping, Sequence

from livebalance.readmodel.connection import Connection, milliseconds
from livebalance.readmodel.projection.arrays import columns
from livebalance.readmodel.rows import ListedTransfer, StoredBalance, TransferRow
from livebalance.wire.identity import AccountId, Offset, TransferId

_STORED = f"""
select account_id, revision, lane, balance, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, {milliseconds("unverified_since")},
       {milliseconds("disputed_since")}, disputed_why, transfers_offset, balances_offset,
       {milliseconds("recorded_at")}, opening_known, erased_transfers_before, erased_balances_before,
       {milliseconds("half_applied_since")}, erased_offset, currency
from balance
"""


async def stored_balances(connection: Connection, accounts: list[AccountId]) -> list[StoredBalance]:
    """Returns the accounts that exist, in any order."""
    rows = await connection.fetch(f"{_STORED} where account_id = any($1)", accounts)
    return [StoredBalance(*row) for row in rows]


_LISTED = f"""
select t.account_id, t.transfer_id, t.amount, t.total, {milliseconds("t.occurred_at")}
from unnest($1::text[], $2::text[]) as x (account_id, transfer_id)
join transfer t on t.account_id = x.account_id and t.transfer_id = x.transfer_id
left join balance b on b.account_id = x.account_id
where t.revision > coalesce(b.erased_revision, 0)
"""

TransferKey = tuple[AccountId, TransferId]


async def listed_transfers(
    connection: Connection, keys: Sequence[TransferKey]
) -> dict[TransferKey, ListedTransfer]:
    """Returns those of the transfers that are listed."""
    rows = await connection.fetch(_LISTED, *columns(keys, 2))
    return {(account, id_): ListedTransfer(amount, at, total) for account, id_, amount, total, at in rows}


_LISTED_SINCE = f"""
select t.account_id, t.revision, t.transfer_id, t.amount::text, t.total::text,
       {milliseconds("t.occurred_at")}, {milliseconds("t.recorded_at")}, t.lane, t.source_offset
from unnest($1::text[], $2::int8[]) as x (account_id, first)
join balance b on b.account_id = x.account_id
join transfer t on t.account_id = x.account_id and t.revision > greatest(b.erased_revision, b.moved_revision)
where t.source_offset >= x.first order by t.source_offset
"""


async def listed_since(connection: Connection, since: Mapping[AccountId, Offset]) -> list[TransferRow]:
    """Returns the listed transfers from an offset of each account on, in the order of offsets.

    Leaves out those of a former topic, whose offsets are not those of this topic.
    """
    rows = await connection.fetch(_LISTED_SINCE, list(since), list(since.values()))
    return [TransferRow(*row) for row in rows]
