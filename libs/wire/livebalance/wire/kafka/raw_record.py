"""Kafka records as they are fetched, and how every service decodes them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, parse_account_id
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.lifecycle import Bound, Erased, Opened, erasure_bound
from livebalance.wire.kafka.lifecycle import decode_lifecycle as decode_lifecycle_value
from livebalance.wire.kafka.record import Balance, Transfer, amount_reason, rejection_reason
from livebalance.wire.money import MAX_SCALE

if TYPE_CHECKING:  # many processes handle records, and few of them need Avro, which is slow to import
    from livebalance.wire.kafka.codec import Codec

R = TypeVar("R", Transfer, Balance)


class RawRecord(NamedTuple):
    """A record of Kafka. Key, value, header names and header values are any bytes."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # in ms since 1970; producers may set any number
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    unreadable: str | None = None  # why the record is damaged: then key, value and headers are not known


class Erasure(NamedTuple):
    """A null value on the topic of balances: the account is erased."""

    account: AccountId
    transfers: Bound | None = None  # the transfers that are erased; None: those that are listed by then


class Rejected(NamedTuple):
    """A record that cannot be applied. docs/errors.md#quarantined-records lists the reasons."""

    reason: str


def decode_transfer(raw: RawRecord, codec: "Codec", max_scale: int = MAX_SCALE) -> Transfer | Rejected:
    """Returns the transfer in a record of the topic of transfers, if it is admissible. Raises nothing.

    The caller halts before a record that is unreadable, because nobody knows what it contains.
    """
    if raw.value is None:
        return Rejected("no value")
    return _decode(raw.key, raw.value, codec.decode_transfer, max_scale)


def decode_balance(
    raw: RawRecord, codec: "Codec", max_scale: int = MAX_SCALE
) -> Balance | Erasure | Rejected:
    """Returns what a record of the topic of balances contains, if it is admissible; see `decode_transfer`."""
    if raw.value is not None:
        return _decode(raw.key, raw.value, codec.decode_balance, max_scale)
    try:
        return Erasure(_account(raw), erasure_bound(raw.headers))
    except DecodeError as error:
        return Rejected(str(error))


def decode_lifecycle(raw: RawRecord, max_scale: int = MAX_SCALE) -> Opened | Erased | Rejected:
    """Returns what a record of the lifecycle topic contains, if it is admissible; see `decode_transfer`."""
    if raw.value is None:
        return Rejected("no value")
    try:
        record = decode_lifecycle_value(_account(raw), raw.value)
    except DecodeError as error:
        return Rejected(str(error))
    reason = amount_reason(record.amount, max_scale) if isinstance(record, Opened) else None
    return record if reason is None else Rejected(reason)


def _account(raw: RawRecord) -> AccountId:
    return parse_account_id((raw.key or b"").decode("ascii", "replace"))


def _decode(key: bytes | None, value: bytes, decode: Callable[[bytes], R], max_scale: int) -> R | Rejected:
    try:
        record = decode(value)
    except DecodeError as error:
        return Rejected(str(error))
    reason = rejection_reason(record, key, max_scale)
    return record if reason is None else Rejected(reason)
