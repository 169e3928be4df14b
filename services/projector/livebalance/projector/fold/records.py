"""Decodes the Kafka records of a lane and puts them into the order in which they are applied."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka import source
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance, decode_transfer
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import MAX_SCALE
from livebalance.wire.timestamp import Millis, limited_millis

Content = Transfer | Balance | Erasure | Rejected


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
) -> list[Incoming]:
    """Decodes the records of both topics of a lane and merges them by Kafka's time.

    Within a topic, the order of offsets is kept. `max_scale` is the largest scale of an admissible amount.
    """
    records = [_decode(raw, decode_transfer, codec, max_scale) for raw in transfers]
    records += [_decode(raw, decode_balance, codec, max_scale) for raw in balances]
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


def decode_quarantined(
    raw: RawRecord, transfers_topic: str, balances_topic: str, codec: Codec, max_scale: int = MAX_SCALE
) -> Incoming:
    """Decodes a quarantined record as if it had just arrived.

    A record without a value is rejected: an erasure would also remove what arrived after it.
    """

    def decoder(raw: RawRecord, codec: Codec, max_scale: int) -> Content:
        if raw.topic not in (transfers_topic, balances_topic):
            return Rejected("this topic is no longer read")
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
