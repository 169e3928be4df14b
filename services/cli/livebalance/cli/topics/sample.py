"""Some records of both topics, judged as a projector would: what they say, and what would be put aside."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.codec import Codec, Kind
from livebalance.wire.kafka.record import Balance, Transfer, admissible


class RawRecord(Protocol):
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Sample(NamedTuple):
    """Of one topic. `refused`: how many, by reason; `first` is where each reason was first seen."""

    looked_at: int
    newest: Transfer | Balance | None
    erased: int
    refused: Counter[str]
    first: dict[str, str]  # partition@offset
    lanes: dict[AccountId, int]  # where each account lies


def sample(kind: Kind, records: Iterable[RawRecord], codec: Codec) -> Sample:
    """Of records in the order in which they were read."""
    found = Sample(0, None, 0, Counter(), {}, {})
    looked_at, erased, newest = 0, 0, None
    for record in records:
        looked_at += 1
        if kind == "balance" and record.value is None:
            erased += 1
            continue
        judged = _judged(kind, record, codec)
        if isinstance(judged, str):
            found.refused[judged] += 1
            found.first.setdefault(judged, f"{record.partition}@{record.offset}")
        else:
            newest = judged
            found.lanes[judged.account] = record.partition
    return found._replace(looked_at=looked_at, newest=newest, erased=erased)


def _judged(kind: Kind, record: RawRecord, codec: Codec) -> Transfer | Balance | str:
    if record.value is None:
        return "no value"
    try:
        found = codec.transfer(record.value) if kind == "transfer" else codec.balance(record.value)
    except DecodeError as why:
        return str(why)
    return admissible(found, record.key) or found


def apart(transfers: Sample, balances: Sample) -> dict[AccountId, tuple[int, int]]:
    """Accounts whose transfers and balances lie in partitions of different numbers: no lane has both."""
    return {
        account: (lane, balances.lanes[account])
        for account, lane in transfers.lanes.items()
        if balances.lanes.get(account, lane) != lane
    }


def shown(record: Transfer | Balance | None) -> dict[str, Any] | None:
    """A record for a reader: its amount as a decimal."""
    if record is None:
        return None
    return {name: str(value) if name == "amount" else value for name, value in record._asdict().items()}
