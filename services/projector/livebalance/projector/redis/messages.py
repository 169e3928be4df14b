"""What is published of a batch, ready for the socket: changed accounts, and how far a lane is complete."""

from collections.abc import Iterable
from typing import NamedTuple

from livebalance.projector.fold.fold import Change, FoldResult
from livebalance.projector.fold.lane import LaneStep
from livebalance.readmodel.rows import TransferRow
from livebalance.wire.delta import (
    MAX_TRANSFERS,
    Delta,
    DeltaParts,
    ProgressMessage,
    encode_delta,
    encode_progress,
    redis_account,
    redis_lane,
    written,
)
from livebalance.wire.identity import Epoch
from livebalance.wire.timestamp import Millis, rfc3339
from livebalance.wire.views import TransferView, balance_part, source, transfers_part

_MANY = MAX_TRANSFERS // 100  # more cannot fit into one message, so they need not be written out

Message = tuple[str, bytes]  # channel of Redis, payload


class MessageEncoder(NamedTuple):
    """How news is written; `behind_after` in ms."""

    prefix: str
    topic: str
    currency: str | None
    behind_after: int

    def deltas(self, steps: Iterable[LaneStep], folded: FoldResult, now: Millis) -> list[Message]:
        """One message per changed account; none of a lane that is far behind (its progress says so)."""
        epochs = {step.lane.lane: step.lane.epoch for step in steps if not self._is_behind(step, now)}
        return [
            (redis_account(self.prefix, id_), encode_delta(self.delta(change, epochs[change.account.lane])))
            for id_, change in folded.changes.items()
            if change.account.lane in epochs
        ]

    def progress(self, steps: Iterable[LaneStep], now: Millis) -> list[Message]:
        """One message per lane of which it is known how far it is complete."""
        return [
            (
                redis_lane(self.prefix, step.lane.lane),
                encode_progress(
                    ProgressMessage(
                        step.lane.lane, step.lane.epoch, step.move.as_of, self._is_behind(step, now)
                    )
                ),
            )
            for step in steps
            if step.move.as_of is not None
        ]

    def delta(self, change: Change, epoch: Epoch) -> Delta:
        """From the revision the account had to the one it has."""
        account = change.account
        balance = transfers = b""
        if len(change.transfers) <= _MANY:
            balance = balance_part(account.view(self.currency))
            transfers = transfers_part([self._shown(row) for row in change.transfers])
        if len(transfers) > MAX_TRANSFERS:
            balance = transfers = b""
        parts = DeltaParts(
            epoch,
            change.from_,
            account.revision,
            account.recorded_at,
            balance,
            transfers,
        )
        return written(account.id, account.lane, parts, gone=change.erased)

    def _shown(self, row: TransferRow) -> TransferView:
        at = source(self.topic, row.lane, row.source_offset)
        return TransferView(
            row.transfer_id, row.amount, row.total, rfc3339(row.occurred_at), row.revision, at
        )

    def _is_behind(self, step: LaneStep, now: Millis) -> bool:
        return step.move.as_of is not None and now - step.move.as_of > self.behind_after
