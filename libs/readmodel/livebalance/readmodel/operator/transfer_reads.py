"""Reads what happened to a transfer, by its id."""

from livebalance.readmodel.connection import Connection, milliseconds
from livebalance.readmodel.operator.status_rows import ExplainedTransfer
from livebalance.wire.identity import AccountId, TransferId

_MAX_ROWS = 100  # a transfer is usually listed for two accounts

# `track_commit_timestamp` is off by default: then a commit has no time. An id is unique in its account only.
_TRANSFERS = f"""
select t.account_id, t.transfer_id, t.amount::text, t.total::text, (b.opening + t.total)::text,
       t.revision, p.epoch, {milliseconds("t.occurred_at")}, {milliseconds("t.recorded_at")},
       t.topic, t.lane, t.source_offset, t.xmin::text,
       case when current_setting('track_commit_timestamp') = 'on'
            then {milliseconds("pg_xact_commit_timestamp(t.xmin)")} end,
       case when b.balance is null or b.transfer_id = '' then false else n.revision >= t.revision end
  from transfer t join balance b using (account_id) cross join projection p
  left join transfer n on n.account_id = b.account_id and n.transfer_id = b.transfer_id
 where t.transfer_id = $1 and ($2::text is null or t.account_id = $2) and t.revision > b.erased_revision
 order by t.account_id limit {_MAX_ROWS}
"""


async def read_listed(
    connection: Connection, transfer: TransferId, account: AccountId | None
) -> list[ExplainedTransfer]:
    """Returns the rows of a transfer. Without an account it may have to look at all accounts."""
    return [ExplainedTransfer(*row) for row in await connection.fetch(_TRANSFERS, transfer, account)]
