"""Decodes records of both topics as a projector would, and counts those that it would quarantine."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.codec import Codec, Kind
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance, decode_transfer
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import MAX_SCALE


class Sample(NamedTuple):
    """The newest records of a topic."""

    records: int
    newest: Transfer | Balance | None
    erasures: int
    rejected: Counter[str]  # number of records, by reason
    first_rejected: dict[str, str]  # partition@offset of the first record, by reason
    partitions: dict[AccountId, int]  # the partition of each account


def decode_sample(
    kind: Kind, records: Iterable[RawRecord], codec: Codec, max_scale: int = MAX_SCALE
) -> Sample:
    """Decodes records, in the order in which they were read."""
    count, erasures, newest = 0, 0, None
    rejected, first_rejected, partitions = Counter[str](), dict[str, str](), dict[AccountId, int]()
    decode = decode_transfer if kind == "transfer" else decode_balance
    for record in records:
        count += 1
        decoded = decode(record, codec, max_scale)
        if isinstance(decoded, Erasure):
            erasures += 1
        elif isinstance(decoded, Rejected):
            rejected[decoded.reason] += 1
            first_rejected.setdefault(decoded.reason, f"{record.partition}@{record.offset}")
        else:
            newest = decoded
            partitions[decoded.account] = record.partition
    return Sample(count, newest, erasures, rejected, first_rejected, partitions)


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
