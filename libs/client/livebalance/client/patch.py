"""Makes whole deltas of patches, which leave out what the client has (docs/protocol.md#patches)."""

from msgspec import UNSET
from msgspec.structs import asdict, replace

from livebalance.wire.frame import BalancePatch, DeltaFrame, Patch, TransferPatch
from livebalance.wire.identity import Revision
from livebalance.wire.views import BalanceView, TransferView


def apply_patch(last: DeltaFrame | None, patch: Patch) -> DeltaFrame | None:
    """Returns the delta that a patch was made of, or None if it does not follow the delta `last`."""
    if last is None or (last.epoch, last.to) != (patch.epoch, patch.from_):
        return None
    if not isinstance(last.balance, BalanceView):
        return None
    transfers = [
        _transfer(transfer, Revision(revision))
        for revision, transfer in enumerate(patch.transfers, patch.from_ + 1)
    ]
    return DeltaFrame(
        channel=patch.channel,
        epoch=patch.epoch,
        from_=patch.from_,
        to=patch.to,
        transfers=transfers,
        recorded_at=patch.recorded_at,
        balance=_balance(last.balance, patch, (transfers or last.transfers)[-1:]),
    )


def _transfer(patch: TransferPatch, implied: Revision) -> TransferView:
    revision = implied if patch.revision is UNSET else patch.revision
    return TransferView(patch.id, patch.amount, patch.total, patch.occurred_at, revision, patch.source)


def _balance(last: BalanceView, patch: Patch, newest: list[TransferView]) -> BalanceView:
    if not isinstance(patch.balance, BalancePatch):
        return last
    changed = {name: value for name, value in asdict(patch.balance).items() if value is not UNSET}
    if "version" in changed:
        transfer_id = newest[0].id if newest else last.transfer_id
        changed = {"revision": patch.to, "transfer_id": transfer_id, **changed}
    return replace(last, **changed)
