"""Decodes the Kafka records of a lane and puts them into the order in which they are applied."""

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka import source
from livebalance.wire.kafka.codec import JSON, Codec
from livebalance.wire.kafka.lifecycle import Erased, Opened
from livebalance.wire.kafka.raw_record import (
    Erasure,
    RawRecord,
    Rejected,
    decode_balance,
    decode_lifecycle,
    decode_transfer,
)
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import MAX_SCALE
from livebalance.wire.timestamp import Millis, limited_millis

Content = Transfer | Balance | Erasure | Opened | Erased | Rejected
_PIECE = 100  # records: half a millisecond
OTHER_TOPIC = "the erasure is of another topic"


class Incoming(NamedTuple):
    """A decoded record, where it came from, and its bytes (`raw`) for the quarantine."""

    content: Content
    lane: Lane
    offset: Offset
    at: Millis  # Kafka's timestamp of the record
    raw: RawRecord


Decoder = Callable[[RawRecord, Codec, int], Content]


def decode_and_merge(
    transfers: Sequence[RawRecord],
    balances: Sequence[RawRecord],
    codec: Codec,
    max_scale: int = MAX_SCALE,
) -> Generator[None, None, list[Incoming]]:
    """Decodes the records of both topics of a lane and merges them by Kafka's time.

    A generator that pauses after each 100 records, and returns all records. Within a topic, the order of
    offsets is kept. `max_scale` is the largest scale of an admissible amount.
    """
    records = list[Incoming]()
    for raws, decoder in ((transfers, decode_transfer), (balances, decode_balance)):
        for start in range(0, len(raws), _PIECE):
            piece = raws[start : start + _PIECE]
            records += [_decode(raw, decoder, codec, max_scale) for raw in piece]
            if len(piece) == _PIECE:
                yield
    if transfers and balances:
        # After a clock was set back, sorting by time would break the order of offsets within a topic. The
        # running maximum of the times keeps it.
        times = [*accumulate((record.at for record in records[: len(transfers)]), max)]
        times += accumulate((record.at for record in records[len(transfers) :]), max)
        records = [record for _, record in sorted(zip(times, records, strict=True), key=itemgetter(0))]
    return records


def _decode(raw: RawRecord, decoder: Decoder, codec: Codec, max_scale: int) -> Incoming:
    content, at = decoder(raw, codec, max_scale), limited_millis(raw.timestamp)
    return Incoming(content, Lane(raw.partition), Offset(raw.offset), at, raw)


class SourceIds(NamedTuple):
    """Kafka's ids of the topics that erasures refer to. None: unknown."""

    transfers: UUID | None = None
    balances: UUID | None = None


def decode_lifecycle_records(
    records: Sequence[RawRecord], ids: SourceIds, max_scale: int = MAX_SCALE
) -> list[Incoming]:
    """Decodes records of the lifecycle topic. Rejects erasures whose offsets are those of other topics."""

    def decoder(raw: RawRecord, _: object, max_scale: int) -> Content:
        content = decode_lifecycle(raw, max_scale)
        if not isinstance(content, Erased):
            return content
        bounds = zip((content.transfers, content.balances), ids, strict=True)
        is_other = any(id_ is not None and id_ != bound.topic_id for bound, id_ in bounds)
        return Rejected(OTHER_TOPIC) if is_other else content

    return [_decode(raw, decoder, JSON, max_scale) for raw in records]


def without_other_bounds(records: Sequence[Incoming], transfers_id: UUID | None) -> list[Incoming]:
    """Lets nulls that name a bound in another topic erase what is listed, as nulls without a bound do."""
    return [
        record._replace(content=record.content._replace(transfers=None))
        if isinstance(record.content, Erasure)
        and record.content.transfers is not None
        and transfers_id not in (None, record.content.transfers.topic_id)
        else record
        for record in records
    ]


def decode_quarantined(
    raw: RawRecord, transfers_topic: str, balances_topic: str, codec: Codec, max_scale: int = MAX_SCALE
) -> Incoming:
    """Decodes a quarantined record as if it had just arrived.

    A record without a value is rejected: an erasure would also remove what arrived after it. Records of the
    lifecycle topic are not replayed: their order counts.
    """

    def decoder(raw: RawRecord, codec: Codec, max_scale: int) -> Content:
        if raw.topic not in (transfers_topic, balances_topic):
            return Rejected("records of this topic are not replayed")
        if raw.value is None:
            return Rejected("no value")
        return (decode_transfer if raw.topic == transfers_topic else decode_balance)(raw, codec, max_scale)

    return _decode(raw, decoder, codec, max_scale)


def limit_consecutive_rejects(
    records: Sequence[Incoming], rejects: Mapping[str, int], limit: int
) -> tuple[Sequence[Incoming], dict[str, int]]:
    """Cuts `records` before the record that makes more than `limit` rejects in a row in its topic.

    `rejects` is the number of consecutive rejects of each topic at the end of the previous batch. Returns the
    records to apply, and the new numbers. If a number exceeds `limit`, the lane must halt.
    """
    counts = dict(rejects)
    for index, record in enumerate(records):
        topic = record.raw.topic
        counts[topic] = counts.get(topic, 0) + 1 if isinstance(record.content, Rejected) else 0
        if counts[topic] > limit:
            return records[:index], counts
    return records, counts


def fingerprint(raw: RawRecord) -> bytes:
    """Returns a hash that differs if a recreated topic has another record at the same offset."""
    return source.fingerprint(raw.key, raw.value, raw.timestamp)
