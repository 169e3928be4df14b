"""The content of delta frames as audits compare it: transfers and balance as JSON, with known fields only.

A gateway hashes what it relayed, and Postgres hashes its rows in the same form (docs/guarantees.md#audit).
Fields that a later release adds are left out, so that releases can be mixed.
"""

from collections.abc import Iterable
from typing import Protocol

from msgspec import UNSET, DecodeError, Struct, UnsetType, json

from livebalance.wire.identity import AccountId, Position, channel_name


class RelayedFrame(Protocol):
    """A frame that leads clients from a position to another."""

    @property
    def before(self) -> Position | None:
        """The position that the frame leads from."""

    @property
    def after(self) -> Position:
        """The position that the frame leads to."""

    @property
    def text(self) -> bytes:
        """The JSON that clients receive."""


class _Transfer(Struct, gc=False):
    """The fields of a TransferView, in the same order, of any content."""

    id: str
    amount: str
    total: str
    occurred_at: str
    revision: int
    source: str


class _Balance(Struct, gc=False):
    """The fields of a BalanceView, in the same order, of any content."""

    amount: str
    currency: str | None
    version: int
    revision: int
    transfer_id: str
    client_id: str
    opening: str | None
    half_applied: str | None
    drift: str | None
    disputed_since: str | None


class _Delta(Struct, rename={"from_": "from"}, gc=False):
    channel: str
    epoch: str
    from_: int
    to: int
    transfers: list[_Transfer]


class _WithBalance(Struct, gc=False):
    balance: _Balance | UnsetType | None = UNSET


_INVALID = b"?"  # equals the JSON of no row
_delta_decoder = json.Decoder(_Delta)
_balance_decoder = json.Decoder(_WithBalance)
_encoder = json.Encoder()


def canonical_transfers(account: AccountId, frames: Iterable[RelayedFrame]) -> bytes:
    """Returns the JSON of the transfers of delta frames, each followed by a comma.

    It equals no rows if a client understands a frame as another account's, or as one between other positions.
    """
    channel, transfers = channel_name(account), []
    try:
        for frame in frames:
            delta, before, after = _delta_decoder.decode(frame.text), frame.before, frame.after
            if not (before and delta.from_ == before.revision and delta.to == after.revision):
                return _INVALID
            if delta.epoch != after.epoch or delta.channel != channel:
                return _INVALID
            transfers += delta.transfers
    except (DecodeError, RecursionError):
        return _INVALID
    return _encoder.encode(transfers)[1:-1] + b"," if transfers else b""


def canonical_balance(text: bytes) -> bytes:
    """Returns the JSON of a delta frame's balance, which may be `null`; empty if the frame has none."""
    try:
        balance = _balance_decoder.decode(text).balance
    except (DecodeError, RecursionError):
        return _INVALID
    return b"" if balance is UNSET else _encoder.encode(balance)
