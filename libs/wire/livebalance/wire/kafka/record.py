"""The records of the two Kafka topics, and the one rule of what a valid one is."""

from typing import NamedTuple

from livebalance.wire.identity import MAX_REVISION, AccountId, TransferId, is_id
from livebalance.wire.money import INT64_MAX, INT64_MIN, MAX_SCALE, Money
from livebalance.wire.timestamp import MAX_MILLIS


class Transfer(NamedTuple):
    """Positive credits the account, negative debits it. `time_ms` is the producer's clock, ms since 1970."""

    id: TransferId
    account: AccountId
    amount: Money
    time_ms: int


class Balance(NamedTuple):
    """An account after the transfer it names; version 0 and an empty transfer id open the account."""

    account: AccountId
    client_id: str
    transfer_id: TransferId
    amount: Money
    version: int


Record = Transfer | Balance


def admissible(record: Record, key: bytes | None) -> str | None:
    """None for a record that may be applied, else the reason it is refused, for an operator to read.

    The one rule of this, used by whoever writes balances and by whoever projects them.
    """
    if not is_id(record.account):
        return "bad account id"
    if key != record.account.encode():
        return "key is not the account id"
    if not 0 <= record.amount.scale <= MAX_SCALE:
        return "scale is not 0..18"
    if not INT64_MIN <= record.amount.unscaled <= INT64_MAX:
        return "amount leaves int64"
    return _transfer(record) if isinstance(record, Transfer) else _balance(record)


def _transfer(record: Transfer) -> str | None:
    if not is_id(record.id):
        return "bad transfer id"
    if not 0 <= record.time_ms <= MAX_MILLIS:
        return "time is not within 1970..9999"
    return None


def _balance(record: Balance) -> str | None:
    if not 0 <= record.version <= MAX_REVISION:  # frames carry it as a number
        return "bad version"
    if (record.version == 0) != (record.transfer_id == ""):
        return "only version 0 has no transfer id"
    if record.transfer_id and not is_id(record.transfer_id):
        return "bad transfer id"
    return None if len(record.client_id) <= 256 and "\x00" not in record.client_id else "bad client id"
