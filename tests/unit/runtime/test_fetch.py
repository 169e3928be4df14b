"""What a batch contains, depending on what the broker hands out."""

from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.runtime.kafka.fetch import collect
from livebalance.wire.kafka.raw_record import RawRecord

AT = TopicPartition("transfers", 0)
LONG_MS = 60_000


class Script:
    """A consumer whose calls return records that are given before: none, or one with each offset."""

    def __init__(self, *calls: list[int]) -> None:
        self.calls = list(calls)

    async def getmany(self, *_: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        offsets = self.calls.pop(0)
        return {AT: [RawRecord("transfers", 0, offset, 0, b"", b"") for offset in offsets]} if offsets else {}


async def collected(script: Script, max_records: int, collect_ms: int) -> list[int]:
    consumer = cast(AIOKafkaConsumer, script)
    fetched = await collect(consumer, [AT], LONG_MS, max_records, collect_ms=collect_ms)
    return [record.offset for record in fetched.get(AT, [])]


async def test_first_record_after_a_quiet_time_is_returned_at_once() -> None:
    script = Script([], [1], [2])
    assert await collected(script, 10, LONG_MS) == [1]
    assert script.calls == [[2]]


async def test_records_that_have_waited_are_returned_with_those_that_follow() -> None:
    script = Script([1], [2], [3, 4], [5])
    assert await collected(script, 10, 1) == [1, 2, 3, 4]
    assert script.calls == [[5]]


async def test_no_more_records_than_asked_for_are_collected() -> None:
    script = Script([1], [2], [3])
    assert await collected(script, 2, 1) == [1, 2]
    assert script.calls == [[3]]
