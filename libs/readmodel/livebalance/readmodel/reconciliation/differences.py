"""Finds the records of the topic of transfers that have no equal row, and rows that have no record.

All statements about a span run in one transaction that is `repeatable read`: they see one snapshot, and a
process that was paused cannot overwrite what the next owner of the lane has stored.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from livebalance.readmodel.connection import Connection, milliseconds
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.rows import Finding, SqlTransfer
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money, parse_money

SPAN_OFFSETS = 2_000  # the results of each such range of offsets are stored together, and replaced together


class Span(NamedTuple):
    """Offsets of a lane's transfers, from `start` to before `end`, within one range of SPAN_OFFSETS."""

    lane: Lane
    start: Offset
    end: Offset

    @property
    def first_offset(self) -> int:
        """The start of the range that contains the span."""
        return self.start - self.start % SPAN_OFFSETS


_HOLDS = "select exists (select from lane where lane = $1 and generation = $2 and transfers_next >= $3)"


async def is_applied(connection: Connection, owner: LaneOwner, end: Offset) -> bool:
    """Returns whether the lane still has this owner, and its transfers up to `end` are applied."""
    return bool(await connection.fetchval(_HOLDS, owner.lane, owner.generation, end))


def _finite(name: str) -> str:
    """Returns SQL that converts timestamptz to ms, and infinity, which no transfer has, to null."""
    return f"case when isfinite({name}) then {milliseconds(name)} end"


# The row of a record has its offset, account and id. Only what is not plainly equal is returned.
_COMPARE = f"""
with record as materialized (
  select x.record_offset, x.account_id, x.transfer_id, x.amount::numeric as amount, x.occurred_ms
    from unnest($4::int8[], $5::text[], $6::text[], $7::text[], $8::int8[])
      as x (record_offset, account_id, transfer_id, amount, occurred_ms)),
stored as materialized (
  select account_id, transfer_id, source_offset, amount, {_finite("occurred_at")} as occurred_ms,
         {_finite("recorded_at")} as recorded_ms, revision
    from transfer where lane = $1 and source_offset >= $2 and source_offset < $3),
paired as (
  select r.record_offset, coalesce(s.account_id, r.account_id) as account_id,
         coalesce(s.transfer_id, r.transfer_id) as transfer_id, s.source_offset, s.amount,
         s.recorded_ms, s.revision,
         coalesce(s.amount = r.amount and s.occurred_ms = r.occurred_ms, false) as same,
         r.amount as record_amount, r.occurred_ms as record_ms
    from record r full join stored s on s.source_offset = r.record_offset and s.account_id = r.account_id
                                    and s.transfer_id = r.transfer_id)
select p.record_offset, p.account_id, p.transfer_id, coalesce(p.source_offset, t.source_offset),
       coalesce(p.amount, t.amount)::text, coalesce(p.recorded_ms, {_finite("t.recorded_at")}, 0),
       coalesce(p.revision, t.revision),
       p.same or coalesce(t.amount = p.record_amount, false)
                 and coalesce({_finite("t.occurred_at")} = p.record_ms, false),
       q.state, b.erased_revision, b.erased_offset, b.balance is null and b.transfer_count = 0
  from paired p
  left join balance b on b.account_id = p.account_id
  left join transfer t on p.source_offset is null and t.account_id = p.account_id
                      and t.transfer_id = p.transfer_id
  left join lateral (
       select min(state) as state from quarantine q
        where p.source_offset is null and q.topic = $9 and q.partition = $1
          and q.source_offset = p.record_offset and q.rejected_by = 'projector') q on true
 where not p.same or b.erased_revision >= p.revision or b.erased_offset > p.source_offset
"""


async def find_differences(
    connection: Connection, topic: str, span: Span, records: Sequence[tuple[Offset, Transfer | None]]
) -> list[Finding]:
    """Returns the records of a span that have no equal row, or whose account was erased, and the other rows.

    `records` are all records of the span; a record that is not admissible has no transfer.
    """
    transfers = [transfer for _, transfer in records]
    columns = (
        [offset for offset, _ in records],
        [transfer and transfer.account for transfer in transfers],
        [transfer and transfer.id for transfer in transfers],
        [transfer and str(transfer.amount) for transfer in transfers],
        [transfer and transfer.time_ms for transfer in transfers],
    )
    lowest = span.start if span.start > 0 else -(2**63)  # no record has a negative offset, but a row may
    rows = await connection.fetch(_COMPARE, span.lane, lowest, span.end, *columns, topic)
    return [_finding(*row) for row in rows]


def _finding(
    offset: Offset | None,
    account: AccountId | None,
    transfer_id: TransferId | None,
    *columns: Any,
) -> Finding:
    row_offset, amount, recorded_at, revision, same, state, erased_revision, erased_offset, is_empty = columns
    row = SqlTransfer(row_offset, _amount(amount), recorded_at, revision, same) if amount else None
    return Finding(offset, account, transfer_id, row, state, erased_revision, erased_offset, is_empty is True)


def _amount(text: str) -> Money | None:
    try:
        return parse_money(text)
    except DecodeError:  # somebody wrote NaN, or more digits than any transfer has
        return None
