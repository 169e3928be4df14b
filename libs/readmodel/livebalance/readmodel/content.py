"""The content of delta frames as audits compare it: transfers and balance as JSON, with known fields only.

A gateway hashes what it relayed, and Postgres hashes its rows in the same form (docs/guarantees.md#audit).
Fields that a later release adds are left out, so that releases can be mixed.
"""

from msgspec import UNSET, DecodeError, Struct, UnsetType, json


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


class _Transfers(Struct, gc=False):
    transfers: list[_Transfer]


class _WithBalance(Struct, gc=False):
    balance: _Balance | UnsetType | None = UNSET


_INVALID = b"?"  # equals the JSON of no row
_transfers_decoder = json.Decoder(_Transfers)
_balance_decoder = json.Decoder(_WithBalance)
_encoder = json.Encoder()


def canonical_transfers(text: bytes) -> bytes:
    """Returns the JSON of a delta frame's transfers, each followed by a comma."""
    try:
        transfers = _transfers_decoder.decode(text).transfers
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
