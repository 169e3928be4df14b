"""Decodes the Kafka records of a lane and puts them into the order in which they are applied."""

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple, Protocol

from livebalance.readmodel.rows import QuarantineRow
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane, Offset, parse_account_id
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.record import Balance, Transfer, rejection_reason
from livebalance.wire.timestamp import MAX_MILLIS, Millis


class KafkaRecord(Protocol):
    """A record as a Kafka consumer returns it."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def partition(self) -> int:
        """The partition: the lane's number."""

    @property
    def offset(self) -> int:
        """The offset."""

    @property
    def timestamp(self) -> int:
        """The timestamp, in ms since 1970. Producers may set any number."""

    @property
    def key(self) -> bytes | None:
        """The key."""

    @property
    def value(self) -> bytes | None:
        """The value."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """The headers."""


class Erasure(NamedTuple):
    """A null value on the balances topic: the account is erased."""

    account: AccountId


class Rejected(NamedTuple):
    """A record that cannot be applied. docs/errors.md#quarantined-records lists the reasons."""

    reason: str


Content = Transfer | Balance | Erasure | Rejected


class Incoming(NamedTuple):
    """A decoded record, where it came from, and its bytes (`raw`) for the quarantine."""

    content: Content
    lane: Lane
    offset: Offset
    at: Millis  # Kafka's timestamp of the record
    raw: KafkaRecord


Decoder = Callable[[KafkaRecord, Codec], Content]


def kafka_time(raw: KafkaRecord) -> Millis:
    """Returns Kafka's timestamp of a record, limited to the years 1970 to 9999."""
    at = raw.timestamp
    return Millis(at if 0 <= at <= MAX_MILLIS else min(max(at, 0), MAX_MILLIS))


def _decode_transfer(raw: KafkaRecord, codec: Codec) -> Transfer | Rejected:
    if raw.value is None:
        return Rejected("no value")
    transfer = codec.decode_transfer(raw.value)
    reason = rejection_reason(transfer, raw.key)
    return transfer if reason is None else Rejected(reason)


def _decode_balance(raw: KafkaRecord, codec: Codec) -> Balance | Erasure | Rejected:
    if raw.value is None:
        return Erasure(parse_account_id((raw.key or b"").decode("ascii", "replace")))
    balance = codec.decode_balance(raw.value)
    reason = rejection_reason(balance, raw.key)
    return balance if reason is None else Rejected(reason)


def decode_and_merge(
    transfers: Sequence[KafkaRecord], balances: Sequence[KafkaRecord], codec: Codec
) -> list[Incoming]:
    """Decodes the records of both topics of a lane and merges them by Kafka's time.

    Within a topic, the order of offsets is kept.
    """
    records = [_decode(raw, _decode_transfer, codec) for raw in transfers]
    records += [_decode(raw, _decode_balance, codec) for raw in balances]
    if transfers and balances:
        # After a clock was set back, sorting by time would break the order of offsets within a topic. The
        # running maximum of the times keeps it.
        times = [*accumulate((record.at for record in records[: len(transfers)]), max)]
        times += accumulate((record.at for record in records[len(transfers) :]), max)
        records = [record for _, record in sorted(zip(times, records, strict=True), key=itemgetter(0))]
    return records


def _decode(raw: KafkaRecord, decoder: Decoder, codec: Codec) -> Incoming:
    content: Content
    try:
        content = decoder(raw, codec)
    except DecodeError as error:
        content = Rejected(str(error))
    return Incoming(content, Lane(raw.partition), Offset(raw.offset), kafka_time(raw), raw)


def decode_quarantined(raw: KafkaRecord, transfers_topic: str, balances_topic: str, codec: Codec) -> Incoming:
    """Decodes a quarantined record as if it had just arrived.

    A record without a value is rejected: an erasure would also remove what arrived after it.
    """

    def decoder(raw: KafkaRecord, codec: Codec) -> Content:
        if raw.topic not in (transfers_topic, balances_topic):
            return Rejected("this topic is no longer read")
        if raw.value is None:
            return Rejected("no value")
        return (_decode_transfer if raw.topic == transfers_topic else _decode_balance)(raw, codec)

    return _decode(raw, decoder, codec)


def limit_consecutive_rejects(
    records: Sequence[Incoming], rejects: int, limit: int
) -> tuple[Sequence[Incoming], int]:
    """Cuts `records` before the record that makes more than `limit` rejects in a row.

    `rejects` is the number of consecutive rejects at the end of the previous batch. Returns the records to
    apply, and the new number. If the number exceeds `limit`, the lane must halt.
    """
    for index, record in enumerate(records):
        rejects = rejects + 1 if isinstance(record.content, Rejected) else 0
        if rejects > limit:
            return records[:index], rejects
    return records, rejects


def fingerprint(raw: KafkaRecord) -> bytes:
    """Returns a 16-byte hash that differs if a recreated topic has another record at the same offset."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (raw.key, raw.value, str(raw.timestamp).encode()):
        digest.update(b"\x00" if part is None else b"\x01%d:" % len(part) + part)
    return digest.digest()


def quarantine_row(record: Incoming, reason: str) -> QuarantineRow:
    """Returns the row that keeps a rejected record and the reason."""
    raw = record.raw
    headers = json.dumps([[name, None if value is None else value.hex()] for name, value in raw.headers])
    return QuarantineRow(
        raw.topic, record.lane, record.offset, raw.key, raw.value, headers, record.at, reason
    )
