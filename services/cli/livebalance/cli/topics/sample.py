"""Decodes records of both topics as a projector would, and counts those that it would quarantine."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.codec import Codec, Kind
from livebalance.wire.kafka.record import Balance, Transfer, rejection_reason


class RawRecord(Protocol):
    """A record of Kafka."""

    @property
    def partition(self) -> int:
        """The number of its partition."""

    @property
    def offset(self) -> int:
        """Its offset."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""


class Sample(NamedTuple):
    """The newest records of a topic."""

    records: int
    newest: Transfer | Balance | None
    erasures: int
    rejected: Counter[str]  # number of records, by reason
    first_rejected: dict[str, str]  # partition@offset of the first record, by reason
    partitions: dict[AccountId, int]  # the partition of each account


def decode_sample(kind: Kind, records: Iterable[RawRecord], codec: Codec) -> Sample:
    """Decodes records, in the order in which they were read."""
    count, erasures, newest = 0, 0, None
    rejected, first_rejected, partitions = Counter[str](), dict[str, str](), dict[AccountId, int]()
    for record in records:
        count += 1
        if kind == "balance" and record.value is None:
            erasures += 1
            continue
        decoded = _decode(kind, record, codec)
        if isinstance(decoded, str):
            rejected[decoded] += 1
            first_rejected.setdefault(decoded, f"{record.partition}@{record.offset}")
        else:
            newest = decoded
            partitions[decoded.account] = record.partition
    return Sample(count, newest, erasures, rejected, first_rejected, partitions)


def _decode(kind: Kind, record: RawRecord, codec: Codec) -> Transfer | Balance | str:
    """Returns the decoded record, or the reason why it would be rejected."""
    if record.value is None:
        return "no value"
    try:
        if kind == "transfer":
            decoded: Transfer | Balance = codec.decode_transfer(record.value)
        else:
            decoded = codec.decode_balance(record.value)
    except DecodeError as error:
        return str(error)
    return rejection_reason(decoded, record.key) or decoded


def split_accounts(transfers: Sample, balances: Sample) -> dict[AccountId, tuple[int, int]]:
    """Returns the accounts whose transfers and balances are in partitions with different numbers."""
    return {
        account: (partition, balances.partitions[account])
        for account, partition in transfers.partitions.items()
        if balances.partitions.get(account, partition) != partition
    }


def as_json_values(record: Transfer | Balance | None) -> dict[str, Any] | None:
    """Returns the fields of a record, with the amount as a decimal."""
    if record is None:
        return None
    return {name: str(value) if name == "amount" else value for name, value in record._asdict().items()}
