"""What a client is shown of a balance and of a transfer: the same JSON in frames, REST and Redis."""

from msgspec import Struct, json

from livebalance.wire import json_types
from livebalance.wire.identity import Lane, Offset


class BalanceView(Struct, frozen=True):
    """Amounts are decimal strings; `half_applied` and `drift` are null until the named transfer is listed."""

    amount: json_types.Amount
    currency: str | None
    version: json_types.Whole
    revision: json_types.Revision  # of the account when this balance was shown
    transfer_id: json_types.Named
    client_id: str
    opening: json_types.Amount | None
    half_applied: json_types.Amount | None
    drift: json_types.Amount | None
    disputed_since: json_types.Time | None


class TransferView(Struct, frozen=True):
    """`total` is the running sum in the account's order: the balance after it is opening + total."""

    id: json_types.Transfer
    amount: json_types.Amount
    total: json_types.Amount
    occurred_at: json_types.Time  # the producer's clock
    revision: json_types.Revision
    source: json_types.Source  # "transfers/3@5512"


class AccountView(Struct, frozen=True):
    """A row of the list of accounts."""

    account: json_types.Account
    epoch: json_types.Epoch
    revision: json_types.Revision
    balance: BalanceView | None


class AccountsView(Struct, frozen=True):
    """A page of the list of accounts; `next` is the cursor of the next one, null on the last."""

    accounts: list[AccountView]
    next: str | None


class TransfersView(Struct, frozen=True):
    """A page of transfers of an account, which was at `revision` of `epoch`; `next` is null on the last."""

    epoch: json_types.Epoch
    revision: json_types.Revision
    transfers: list[TransferView]
    next: str | None


class EdgeView(Struct, frozen=True):
    """Where a statement begins or ends: after the transfer made at `revision`, 0 if there is none."""

    revision: json_types.Revision
    total: json_types.Amount
    balance: json_types.Amount | None  # the account's opening + total; null until that is known


class StatementView(Struct, frozen=True):
    """What happened to an account in a period, by Kafka's times: `transfers` in order, from edge to edge.

    The account was at `revision` of `epoch` when its edges were read.
    """

    account: json_types.Account
    epoch: json_types.Epoch
    revision: json_types.Revision
    currency: str | None
    opening: EdgeView
    closing: EdgeView
    transfers: list[TransferView]


_encoder = json.Encoder()


def source(topic: str, lane: Lane, offset: Offset) -> str:
    return f"{topic}/{lane}@{offset}"


def balance_part(view: BalanceView | None) -> bytes:
    """Ready JSON: an object, or `null`."""
    return _encoder.encode(view)


def transfers_part(views: list[TransferView]) -> bytes:
    """Ready JSON objects joined by commas, without brackets: two parts are merged by joining them."""
    return b",".join(map(_encoder.encode, views))
