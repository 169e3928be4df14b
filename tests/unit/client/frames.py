"""Frames of an account, as a gateway sends them."""

from msgspec import UNSET

from livebalance.wire.frame import DeltaFrame, Gap, Limits, Snapshot, SnapshotReason, Welcome
from livebalance.wire.identity import AccountId, Revision, TransferId
from livebalance.wire.views import BalanceView, TransferView

ACCOUNT = AccountId("acc-1")
CHANNEL = "account:acc-1"
EPOCH, OTHER_EPOCH = "9f00000000000001", "9f00000000000002"
TIME = "2026-11-24T17:20:00.000Z"
LIMITS = Limits(16384, 128, 10_000)


def welcome(heartbeat_ms: int = 10_000) -> Welcome:
    return Welcome("s-1", "gateway-1", "1", [], EPOCH, TIME, heartbeat_ms, LIMITS)


def transfer(revision: int, amount: str = "1", total: str | None = None) -> TransferView:
    """A transfer of a history in which every revision is a transfer of 1."""
    return TransferView(
        TransferId(f"t{revision}"), amount, total or str(revision), TIME, Revision(revision), "transfers/0@1"
    )


def balance(revision: int, amount: str | None = None) -> BalanceView:
    """A verified balance: it names the transfer of its revision."""
    return BalanceView(
        amount or str(revision), "EUR", revision, Revision(revision), TransferId(f"t{revision}"), "c",
        "0", "0", "0", None,
    )  # fmt: skip


def snapshot(
    revision: int,
    transfers: list[TransferView] | None = None,
    reason: SnapshotReason = "subscribed",
    epoch: str = EPOCH,
    gap: tuple[int, int] | None = None,
) -> Snapshot:
    shown = [transfer(n) for n in range(revision, 0, -1)] if transfers is None else transfers
    missed = Gap(Revision(gap[0]), Revision(gap[1])) if gap else UNSET
    return Snapshot(CHANNEL, epoch, Revision(revision), reason, balance(revision), shown, None, None, missed)


def delta(
    from_: int, to: int, transfers: list[TransferView] | None = None, epoch: str = EPOCH, more: bool = False
) -> DeltaFrame:
    shown = [transfer(n) for n in range(from_ + 1, to + 1)] if transfers is None else transfers
    return DeltaFrame(
        CHANNEL, epoch, Revision(from_), Revision(to), shown, TIME, more, UNSET if more else balance(to)
    )
