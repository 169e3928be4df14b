"""The records of the two Kafka topics, and the rule that decides which of them are admissible."""

from typing import NamedTuple

from livebalance.wire.identity import MAX_REVISION, AccountId, TransferId, is_id
from livebalance.wire.money import INT64_MAX, INT64_MIN, MAX_SCALE, Money
from livebalance.wire.timestamp import MAX_MILLIS


class Transfer(NamedTuple):
    """A positive amount credits the account, a negative amount debits it.

    `time_ms` is the time by the producer's clock, in ms since 1970.
    """

    id: TransferId
    account: AccountId
    amount: Money
    time_ms: int


class Balance(NamedTuple):
    """An account's balance after the transfer `transfer_id`.

    Version 0 opens the account: its transfer id is empty.
    """

    account: AccountId
    client_id: str
    transfer_id: TransferId
    amount: Money
    version: int


Record = Transfer | Balance


def rejection_reason(record: Record, key: bytes | None, max_scale: int = MAX_SCALE) -> str | None:
    """Returns why a record is not admissible, or None if it is (docs/guarantees.md#what-is-in-the-topics).

    Recorder, projector and cli use the same rule. The reasons are stored in the quarantine (docs/errors.md).

    Args:
        record: The decoded value.
        key: The key of the Kafka record.
        max_scale: The largest scale that is admissible.
    """
    if not is_id(record.account):
        return "bad account id"
    if key != record.account.encode():
        return "key is not the account id"
    if reason := amount_reason(record.amount, max_scale):
        return reason
    return _transfer_reason(record) if isinstance(record, Transfer) else _balance_reason(record)


def amount_reason(amount: Money, max_scale: int) -> str | None:
    """Returns why an amount is not admissible, or None if it is."""
    if not 0 <= amount.scale <= max_scale:
        return f"scale is not 0..{max_scale}"
    return None if INT64_MIN <= amount.unscaled <= INT64_MAX else "amount leaves int64"


def _transfer_reason(record: Transfer) -> str | None:
    if not is_id(record.id):
        return "bad transfer id"
    if not 0 <= record.time_ms <= MAX_MILLIS:
        return "time is not within 1970..9999"
    return None


def _balance_reason(record: Balance) -> str | None:
    if not 0 <= record.version <= MAX_REVISION:  # frames carry the version as a JSON number
        return "bad version"
    if (record.version == 0) != (record.transfer_id == ""):
        return "only version 0 has no transfer id"
    if record.transfer_id and not is_id(record.transfer_id):
        return "bad transfer id"
    return None if len(record.client_id) <= 256 and "\x00" not in record.client_id else "bad client id"
