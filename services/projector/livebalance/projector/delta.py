"""What is published of a folded batch: one message per changed account, its parts ready for the socket."""

from collections.abc import Iterable

from livebalance.projector.fold import Change
from livebalance.readmodel.rows import TransferRow
from livebalance.wire.delta import Delta, encode_delta, redis_account
from livebalance.wire.identity import Epoch
from livebalance.wire.instant import rfc3339
from livebalance.wire.view import TransferView, balance_part, source, transfers_part

Message = tuple[str, bytes]  # channel, payload


def _shown(row: TransferRow, topic: str) -> TransferView:
    at = source(topic, row.lane, row.source_offset)
    return TransferView(row.transfer_id, row.amount, row.total, rfc3339(row.occurred_at), row.revision, at)


def delta(change: Change, epoch: Epoch, topic: str, currency: str | None) -> Delta:
    """From the revision the account had to the one it has."""
    account = change.account
    return Delta(
        account.lane,
        epoch,
        change.from_,
        account.revision,
        account.recorded_at,
        balance_part(account.view(currency)),
        transfers_part([_shown(row, topic) for row in change.transfers]),
        change.erased,
    )


def messages(
    changes: Iterable[tuple[Change, Epoch]], prefix: str, topic: str, currency: str | None
) -> list[Message]:
    """For Redis, in the order of the changes."""
    return [
        (redis_account(prefix, change.account.id), encode_delta(delta(change, epoch, topic, currency)))
        for change, epoch in changes
    ]
