"""What one transaction writes."""

from collections.abc import Sequence
from typing import NamedTuple

from livebalance.projector.fold import Folded
from livebalance.projector.lane import Step
from livebalance.readmodel.rows import BalanceRow, LaneMove, QuarantineRow, TransferRow
from livebalance.wire.identity import AccountId


class Work(NamedTuple):
    """Rows and offsets of one batch: all or nothing."""

    moves: list[LaneMove]
    balances: list[BalanceRow]
    erased: list[AccountId]
    transfers: list[TransferRow]
    quarantined: list[QuarantineRow]


def work(steps: Sequence[Step], folded: Folded, currency: str | None) -> Work:
    changes = folded.changes.values()
    return Work(
        [one.move for one in steps],
        [change.account.row(change.from_, currency) for change in changes],
        [change.account.id for change in changes if change.erased],
        [row for change in changes for row in change.transfers],
        folded.quarantined,
    )
