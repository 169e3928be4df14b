"""Encodes the Redis messages of a batch: deltas, the changed accounts of lanes, and the progress of lanes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from livebalance.projector.fold.fold import Change, FoldResult
from livebalance.projector.fold.lane import LaneStep
from livebalance.readmodel.rows import TransferRow
from livebalance.wire.delta import (
    MAX_TRANSFERS_BYTES,
    Delta,
    DeltaParts,
    ProgressMessage,
    encode_delta,
    encode_progress,
    make_delta,
    redis_account_channel,
    redis_lane_channel,
)
from livebalance.wire.identity import Epoch, Lane
from livebalance.wire.sets.batch import (
    ChangedAccount,
    KeptTotal,
    LaneBatch,
    encode_batch,
    redis_batch_channel,
)
from livebalance.wire.signature import SigningKey
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import TransferView, balance_json, format_source, transfers_json

# More transfers would exceed MAX_TRANSFERS_BYTES for sure, so they are not encoded at all.
_MOST_TRANSFERS = MAX_TRANSFERS_BYTES // 100

Message = tuple[str, bytes]  # Redis channel, payload
KeptTotals = Mapping[Lane, Sequence[KeptTotal]]  # of sets, by lane
NO_TOTALS: KeptTotals = MappingProxyType({})


class MessageEncoder(NamedTuple):
    """Encodes messages for the channels that start with `prefix`."""

    prefix: str
    transfers_topic: str
    currency: str | None
    catch_up_threshold_ms: int
    key: SigningKey | None = None  # None: messages are not signed
    positions: bool = False  # in the header of each delta

    def deltas(self, steps: Iterable[LaneStep], folded: FoldResult, now: Millis) -> Iterator[Message]:
        """Yields a delta for each changed account.

        Leaves out lanes that are far behind: their progress says so (docs/guarantees.md#publishing).
        """
        epochs = {step.lane.lane: step.lane.epoch for step in steps if not self._is_behind(step, now)}
        return (
            self._message(
                redis_account_channel(self.prefix, id_),
                encode_delta(self.delta(change, epochs[change.account.lane]), positions=self.positions),
            )
            for id_, change in folded.changes.items()
            if change.account.lane in epochs
        )

    def batches(self, steps: Iterable[LaneStep], folded: FoldResult, now: Millis) -> list[LaneBatch]:
        """Returns the next batch of each changed lane. Leaves out the same lanes as `deltas`."""
        accounts: dict[Lane, list[ChangedAccount]] = {}
        for change in folded.changes.values():
            accounts.setdefault(change.account.lane, []).append(self._changed_account(change))
        return [
            LaneBatch(lane.lane, lane.epoch, lane.batches + 1, accounts[lane.lane])
            for lane in (step.lane for step in steps if not self._is_behind(step, now))
            if lane.lane in accounts
        ]

    def batch_messages(self, batches: Iterable[LaneBatch], kept: KeptTotals) -> list[Message]:
        """Returns a message for each batch, with the totals of sets that it has written."""
        return [
            self._message(
                redis_batch_channel(self.prefix, batch.lane),
                encode_batch(replace(batch, totals=kept.get(batch.lane, ()))),
            )
            for batch in batches
        ]

    def _changed_account(self, change: Change) -> ChangedAccount:
        account, before = change.account, change.before
        former = before.client_id if before and before.client_id != account.client_id else None
        if account.amount is None:
            return ChangedAccount(account.id, account.revision, former_client=former)
        disputed = account.disputed_since
        return ChangedAccount(
            account.id,
            account.revision,
            str(account.amount),
            self.currency,
            account.client_id,
            None if disputed is None else format_rfc3339(disputed),
            former,
        )

    def progress(self, steps: Iterable[LaneStep], now: Millis) -> list[Message]:
        """Returns a message for each lane whose "complete as of" is known."""
        return [
            self._message(
                redis_lane_channel(self.prefix, step.lane.lane),
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
        """Returns the delta of an account; without content if its transfers exceed MAX_TRANSFERS_BYTES."""
        account = change.account
        balance = transfers = b""
        if len(change.transfers) <= _MOST_TRANSFERS:
            balance = balance_json(account.view(self.currency))
            transfers = transfers_json([self._transfer_view(row) for row in change.transfers])
        if len(transfers) > MAX_TRANSFERS_BYTES:
            balance = transfers = b""
        parts = DeltaParts(
            epoch,
            change.from_,
            account.revision,
            account.recorded_at,
            balance,
            transfers,
        )
        return make_delta(account.id, account.lane, parts, gone=change.erased)

    def _message(self, channel: str, payload: bytes) -> Message:
        return channel, payload if self.key is None else self.key.sign(channel.encode(), payload)

    def _transfer_view(self, row: TransferRow) -> TransferView:
        record = format_source(self.transfers_topic, row.lane, row.source_offset)
        return TransferView(
            row.transfer_id, row.amount, row.total, format_rfc3339(row.occurred_at), row.revision, record
        )

    def _is_behind(self, step: LaneStep, now: Millis) -> bool:
        return step.move.as_of is not None and now - step.move.as_of > self.catch_up_threshold_ms
