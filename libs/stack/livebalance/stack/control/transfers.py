"""Writes transfers of one account to Kafka, when the page of the demo asks for them."""

import asyncio
import time

from livebalance.generator.transfers import AccountPicker, account_id, run_name, transfer_pair
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.runtime.schema.values import Values

_TIMEOUT_SECONDS = 10.0
MAX_TRANSFERS = 500  # at a time


class _PartnerPicker(AccountPicker):
    """Picks a fixed account and any other account."""

    def __init__(self, number: int, count: int) -> None:
        super().__init__(count)
        self._number = number

    def pick_two(self, draw: int) -> tuple[int, int]:
        _, other = super().pick_two(draw)
        other = other if other != self._number else other % self._count + 1
        return (self._number, other) if draw & 1 else (other, self._number)


class TransferWriter:
    """Writes random transfers between accounts 1 to `accounts`, which the feed has opened."""

    def __init__(self, settings: ServiceSettings, accounts: int) -> None:
        self._settings = settings
        self._numbers = {str(account_id(number)): number for number in range(1, accounts + 1)}
        self._run = f"page-{run_name(time.time_ns())}"
        self._written = 0

    async def write(self, account: object, count: object) -> str:
        """Writes `count` transfers of an account, each as two records, and returns the last record's id.

        Raises:
            ValueError: the demo has no such account, or the count is not 1 to 500.
            TimeoutError, KafkaError: Kafka is unavailable; the transfers may have been written.
        """
        number = self._numbers.get(str(account))
        if number is None:
            raise ValueError("not an account of the demo")
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_TRANSFERS:
            raise ValueError(f"count is not a whole number from 1 to {MAX_TRANSFERS}")
        first, self._written = self._written, self._written + count
        picker, now_ms = _PartnerPicker(number, len(self._numbers)), time.time_ns() // 1_000_000
        pairs = [transfer_pair(now_ms, n, picker, self._run, now_ms) for n in range(first, self._written)]
        codec, topic = Values(self._settings).codec, self._settings.transfers_topic
        producer = create_producer(self._settings.broker, self._settings.name, None)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await producer.start()
                await send_all(
                    producer,
                    (
                        OutgoingRecord(topic, record.account.encode(), codec.encode_transfer(record))
                        for pair in pairs
                        for record in pair
                    ),
                )
        finally:
            await stop_producer(producer)
        return pairs[-1].credit.id
