"""Kafka records of a lane, decoded and in the order they are applied."""

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple, Protocol

from livebalance.readmodel.rows import QuarantineRow
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane, Offset, account_id
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.record import Balance, Transfer, admissible
from livebalance.wire.timestamp import MAX_MILLIS, Millis


class KafkaRecord(Protocol):
    """Content a consumer hands out."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Erasure(NamedTuple):
    """A null on the topic of balances."""

    account: AccountId


class Rejected(NamedTuple):
    """A record that may not be applied, and why, for an operator to read."""

    reason: str


Content = Transfer | Balance | Erasure | Rejected


class Incoming(NamedTuple):
    """One record and where it came from; `raw` for the quarantine."""

    what: Content
    lane: Lane
    offset: Offset
    at: Millis  # Kafka's time
    raw: KafkaRecord


Reader = Callable[[KafkaRecord, Codec], Content]


def kafka_time(record: KafkaRecord) -> Millis:
    """Kafka's time within 1970..9999, whatever a producer wrote."""
    at = record.timestamp
    return Millis(at if 0 <= at <= MAX_MILLIS else min(max(at, 0), MAX_MILLIS))


def _transfer(record: KafkaRecord, codec: Codec) -> Transfer | Rejected:
    if record.value is None:
        return Rejected("no value")
    found = codec.transfer(record.value)
    reason = admissible(found, record.key)
    return found if reason is None else Rejected(reason)


def _balance(record: KafkaRecord, codec: Codec) -> Balance | Erasure | Rejected:
    if record.value is None:
        return Erasure(account_id((record.key or b"").decode("ascii", "replace")))
    found = codec.balance(record.value)
    reason = admissible(found, record.key)
    return found if reason is None else Rejected(reason)


def arrivals(
    transfers: Sequence[KafkaRecord], balances: Sequence[KafkaRecord], codec: Codec
) -> list[Incoming]:
    """Both topics of one lane merged by Kafka's time; within a topic the order of offsets stands."""
    arrived = [_arrived(record, _transfer, codec) for record in transfers]
    arrived += [_arrived(record, _balance, codec) for record in balances]
    if transfers and balances:
        # A clock set back must not put a record before one of a lower offset: each topic's time only grows.
        times = [*accumulate((one.at for one in arrived[: len(transfers)]), max)]
        times += accumulate((one.at for one in arrived[len(transfers) :]), max)
        arrived = [one for _, one in sorted(zip(times, arrived, strict=True), key=itemgetter(0))]
    return arrived


def _arrived(record: KafkaRecord, read: Reader, codec: Codec) -> Incoming:
    what: Content
    try:
        what = read(record, codec)
    except DecodeError as error:
        what = Rejected(str(error))
    return Incoming(what, Lane(record.partition), Offset(record.offset), kafka_time(record), record)


def again(record: KafkaRecord, transfers: str, balances: str, codec: Codec) -> Incoming:
    """A record that was put aside, read as if it came now, by the names of both topics.

    An empty one stays where it is: an erasure would take with it what came after it.
    """

    def read(record: KafkaRecord, codec: Codec) -> Content:
        if record.topic not in (transfers, balances):
            return Rejected("this topic is not read any more")
        if record.value is None:
            return Rejected("no value")
        return (_transfer if record.topic == transfers else _balance)(record, codec)

    return _arrived(record, read, codec)


def before_streak(arrived: Sequence[Incoming], streak: int, limit: int) -> tuple[Sequence[Incoming], int]:
    """What may be taken before more than `limit` in a row are refused, and the new streak.

    A streak over `limit` in the answer means that the lane halts. `streak` comes from the batch before.
    """
    for number, one in enumerate(arrived):
        streak = streak + 1 if isinstance(one.what, Rejected) else 0
        if streak > limit:
            return arrived[:number], streak
    return arrived, streak


def fingerprint(record: KafkaRecord) -> bytes:
    """Tells a record from another one at the same offset of a topic made anew; 16 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (record.key, record.value, str(record.timestamp).encode()):
        digest.update(b"\x00" if part is None else b"\x01%d:" % len(part) + part)
    return digest.digest()


def quarantined(one: Incoming, reason: str) -> QuarantineRow:
    raw = one.raw
    headers = json.dumps([[name, None if value is None else value.hex()] for name, value in raw.headers])
    return QuarantineRow(raw.topic, one.lane, one.offset, raw.key, raw.value, headers, one.at, reason)
