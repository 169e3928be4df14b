"""Balances, transfers and statements as clients see them: the same JSON in frames, REST and Redis."""

from msgspec import Struct, json

from livebalance.wire import json_types
from livebalance.wire.identity import Lane, Offset


class BalanceView(Struct, frozen=True):
    """Amounts are decimal strings; `half_applied` and `drift` are null until the named transfer is listed."""

    amount: json_types.Amount
    currency: str | None
    version: json_types.Count
    revision: json_types.Revision  # of the account when this balance was read
    transfer_id: json_types.NamedTransfer
    client_id: str
    opening: json_types.Amount | None
    half_applied: json_types.Amount | None
    drift: json_types.Amount | None
    disputed_since: json_types.Time | None


class TransferView(Struct, frozen=True):
    """`total` is the sum so far in the account's order; the balance after the transfer is opening + total."""

    id: json_types.Transfer
    amount: json_types.Amount
    total: json_types.Amount
    occurred_at: json_types.Time  # by the producer's clock
    revision: json_types.Revision
    source: json_types.Source  # "transfers/3@5512"


class TransferDetailView(TransferView, frozen=True):
    """A transfer that was asked for by its id."""

    recorded_at: json_types.Time  # by Kafka's clock


class MemberView(Struct, frozen=True, gc=False):
    """An account of a set: its newest balance, without its transfers."""

    account: json_types.Account
    revision: json_types.Revision  # of the account, as in its own channel
    amount: json_types.Amount
    currency: str | None
    client_id: str
    disputed_since: json_types.Time | None


class TotalView(Struct, frozen=True):
    """The sum of the balances of a set's members in a currency, and how many members have it."""

    currency: str | None
    amount: json_types.Amount
    accounts: json_types.Count


class AccountView(Struct, frozen=True):
    """A row of the list of accounts."""

    account: json_types.Account
    epoch: json_types.Epoch
    revision: json_types.Revision
    balance: BalanceView | None


class AccountsView(Struct, frozen=True):
    """A page of the list of accounts; `next` is the cursor of the next page, null on the last page.

    The page includes everything recorded up to `as_of`; null: that time is unknown.
    """

    accounts: list[AccountView]
    next: str | None
    as_of: json_types.Time | None


class TransfersView(Struct, frozen=True):
    """A page of an account's transfers, read at `revision` of `epoch`; `next` is null on the last page."""

    epoch: json_types.Epoch
    revision: json_types.Revision
    transfers: list[TransferView]
    next: str | None


class EdgeView(Struct, frozen=True):
    """Begin or end of a statement: the state after the transfer at `revision`, or revision 0 without one."""

    revision: json_types.Revision
    total: json_types.Amount
    balance: json_types.Amount | None  # the account's opening + total; null until the opening is known


class StatementView(Struct, frozen=True):
    """An account's transfers in a period by Kafka's times, in order, from `opening` to `closing`.

    `revision` and `epoch` are the account's position when the edges were read.
    """

    account: json_types.Account
    epoch: json_types.Epoch
    revision: json_types.Revision
    currency: str | None
    opening: EdgeView
    closing: EdgeView
    transfers: list[TransferView]


class PointView(Struct, frozen=True):
    """The state after the transfer at `revision`: the balance is the account's opening + total."""

    revision: json_types.Revision
    total: json_types.Amount
    recorded_at: json_types.Time  # by Kafka's clock; never decreases with the revision


class ChartView(Struct, frozen=True):
    """Transfers at about equal distances of a period, in order, read at `revision` of `epoch`.

    The first point is before the period, unless there was no transfer then.
    """

    epoch: json_types.Epoch
    revision: json_types.Revision
    points: list[PointView]


_encoder = json.Encoder()


def format_source(topic: str, lane: Lane, offset: Offset) -> str:
    """Returns the place of a record in Kafka, as `transfers/3@5512`."""
    return f"{topic}/{lane}@{offset}"


def balance_json(view: BalanceView | None) -> bytes:
    """Returns the JSON of a balance: an object, or `null`."""
    return _encoder.encode(view)


def transfers_json(views: list[TransferView]) -> bytes:
    """Returns JSON objects joined by commas, without brackets, so that results can be joined by a comma."""
    return b",".join(map(_encoder.encode, views))
