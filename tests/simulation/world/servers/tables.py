"""The projection as values: its tables at a moment, and its rows as readers get them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from livebalance.readmodel.gateway_reads import LaneProgress
from livebalance.readmodel.rows import (
    BalanceRow,
    BatchRows,
    LaneMove,
    LaneRow,
    QuarantineRow,
    SourceIdentity,
    TransferRow,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Revision
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, format_source
from tests.simulation.reads import StoredProjection
from tests.simulation.world.servers.kafka import TRANSFERS


class StoredLane(NamedTuple):
    """A lane: its row, and the time that it is complete as of."""

    row: LaneRow
    as_of: Millis | None


class Tables(NamedTuple):
    """The projection at a moment. Its parts are never changed, so that any moment can come back."""

    epoch: Epoch
    timeline: int  # of the server that the projection was written to
    partitions: int  # that the projection was built from
    lanes: Mapping[Lane, StoredLane]
    balances: Mapping[AccountId, BalanceRow]
    transfers: Mapping[AccountId, tuple[TransferRow, ...]]
    quarantine: tuple[QuarantineRow, ...]
    moved: Mapping[AccountId, Revision]  # accounts at the move of their lane to another topic of transfers

    @property
    def stored(self) -> StoredProjection:
        lanes = {number: LaneProgress(lane.as_of, lane.row.halted_why) for number, lane in self.lanes.items()}
        return StoredProjection(self.epoch, self.partitions, lanes)

    def apply(self, rows: BatchRows) -> "Tables":
        """Returns the tables after a batch."""
        lanes, balances, transfers = dict(self.lanes), dict(self.balances), dict(self.transfers)
        for move in rows.moves:
            lanes[move.lane] = moved_lane(lanes[move.lane], move)
        for account in rows.erased:
            transfers[account] = ()
        for row in rows.balances:
            before = balances.get(row.account)
            if before is None or before.erased_revision <= row.erased_revision:
                balances[row.account] = row
            else:
                balances[row.account] = row._replace(erased_revision=before.erased_revision)
        for transfer in rows.transfers:
            transfers[transfer.account] = (*transfers.get(transfer.account, ()), transfer)
        quarantine = self.quarantine + tuple(rows.quarantined)
        return self._replace(lanes=lanes, balances=balances, transfers=transfers, quarantine=quarantine)

    def move_accounts(self, number: Lane) -> "Tables":
        """Returns the tables after a lane has moved to another topic of transfers."""
        rows = {account: row for account, row in self.balances.items() if row.lane == number}
        forgotten = {
            account: row._replace(erased_transfers_before=Offset(0))
            for account, row in rows.items()
            if row.erased_transfers_before is not None
        }
        moved = {account: row.revision for account, row in rows.items()}
        return self._replace(balances={**self.balances, **forgotten}, moved={**self.moved, **moved})


def new_lane(number: Lane, epoch: Epoch, identity: SourceIdentity) -> LaneRow:
    ids = _uuid(identity.transfers_id), _uuid(identity.balances_id)
    return LaneRow(number, 0, epoch, Offset(0), Offset(0), None, None, None, None, None, True, *ids)


_uuid = lru_cache(16)(UUID)


def moved_lane(lane: StoredLane, move: LaneMove) -> StoredLane:
    row = lane.row
    as_of = move.as_of if lane.as_of is None else max(lane.as_of, move.as_of or lane.as_of)
    return lane._replace(
        row=row._replace(
            transfers_next=move.transfers_to,
            balances_next=move.balances_to,
            transfers_last=row.transfers_last if move.transfers_last is None else move.transfers_last,
            transfers_fingerprint=move.transfers_fingerprint or row.transfers_fingerprint,
            balances_last=row.balances_last if move.balances_last is None else move.balances_last,
            balances_fingerprint=move.balances_fingerprint or row.balances_fingerprint,
            halted_why=move.halted_why,
            lifecycle_next=row.lifecycle_next if move.lifecycle_next is None else move.lifecycle_next,
        ),
        as_of=as_of,
    )


@lru_cache(500)
def balance_view(row: BalanceRow | None) -> BalanceView | None:
    """Returns a balance as a gateway reads it."""
    if row is None or row.balance is None:
        return None
    assert row.version is not None
    assert row.transfer_id is not None
    assert row.client_id is not None
    return BalanceView(
        row.balance,
        row.currency,
        row.version,
        row.revision,
        row.transfer_id,
        row.client_id,
        row.opening,
        row.half_applied,
        row.drift,
        None if row.disputed_since is None else format_rfc3339(row.disputed_since),
    )


@lru_cache(500)
def transfer_view(row: TransferRow) -> TransferView:
    """Returns a transfer as a gateway reads it."""
    return TransferView(
        row.transfer_id,
        row.amount,
        row.total,
        format_rfc3339(row.occurred_at),
        row.revision,
        format_source(TRANSFERS, row.lane, row.source_offset),
    )
