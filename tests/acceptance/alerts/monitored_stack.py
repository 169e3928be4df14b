"""Real services beside a real Prometheus, and what is written to their topics."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import psutil
from aiokafka import AIOKafkaProducer

from livebalance.client.client import Client
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID
from livebalance.stack.paths import StatePaths
from livebalance.stack.process.service import Service, create_service
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer
from tests.contract.alerts import RULES
from tests.prometheus import Prometheus, hurried
from tests.servers.database import Database
from tests.tokens import SECRET, token_source

ACCOUNTS = [AccountId(f"acc-{number:04}") for number in range(1, 65)]
GARBAGE_IN_A_ROW = 3

# So that a fault shows sooner than elsewhere. No expression of an alert is another one.
QUICK = {
    "feed": {},
    "recorder": {"LIVEBALANCE_BATCH_RECORDS": "50"},
    "projector": {
        "LIVEBALANCE_BATCH_RECORDS": "50",
        "LIVEBALANCE_MAX_CONSECUTIVE_REJECTS": str(GARBAGE_IN_A_ROW),
    },
    "gateway": {
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "0.5",
        "LIVEBALANCE_REDIS_PROBE_INTERVAL_SECONDS": "0.5",
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": "0.1",
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    },
}
FEED = ["--accounts", str(len(ACCOUNTS)), "--rate", "100"]


class Servings(NamedTuple):
    """Where everything is."""

    paths: StatePaths
    kafka: str
    topics: Topics
    database: Database
    redis: Servers
    prefix: str


class Ground:
    def __init__(self, at: Servings, directory: Path) -> None:
        self.at, self._directory = at, directory
        self.services = {kind: self._service(kind) for kind in QUICK}
        ports = [one.port for one in self.services.values()]
        self.prometheus = Prometheus(directory, hurried(RULES.read_text()), ports)

    def _service(self, kind: str) -> Service:
        at = self.at
        environment = {
            "LIVEBALANCE_KAFKA": at.kafka,
            "LIVEBALANCE_TRANSFERS_TOPIC": at.topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": at.topics.balances,
            "LIVEBALANCE_REDIS": at.redis.redis(),
            "LIVEBALANCE_CHANNEL_PREFIX": at.prefix,
            "LIVEBALANCE_PROJECTOR_GROUP": f"projector-{at.topics.transfers}",
            "LIVEBALANCE_RECORDER_GROUP": f"recorder-{at.topics.transfers}",
            **({"LIVEBALANCE_POSTGRES": at.database.url(kind)} if kind in {"projector", "gateway"} else {}),
        }
        paths = StatePaths(at.paths.home, self._directory)
        return create_service(paths, kind, 1, {**environment, **QUICK[kind]}, FEED if kind == "feed" else [])

    async def start(self, kind: str) -> None:
        """Ready when it returns."""
        one = self.services[kind]
        one.child.start()
        async with asyncio.timeout(30):
            while not await one.is_ready():
                assert one.child.pid, one.child.tail()
                await asyncio.sleep(0.05)

    async def seen(self, kind: str) -> None:
        """Prometheus knows of the process that runs now."""
        began = psutil.Process(self.services[kind].child.pid).create_time()
        query = (
            f'process_start_time_seconds{{instance="127.0.0.1:{self.services[kind].port}"}} >= {began - 1}'
        )
        async with asyncio.timeout(20):
            while not await self.prometheus.ask(query):  # noqa: ASYNC110 - HTTP tells only who asks
                await asyncio.sleep(0.1)

    async def end(self, kind: str) -> None:
        await asyncio.to_thread(self.services[kind].child.stop)

    async def stop(self) -> None:
        """All of it, from the feed on."""
        for kind in self.services:
            await self.end(kind)
        await self.prometheus.stop()

    async def write(
        self, records: Iterable[tuple[Transfer | Balance, int]], partition: int | None = None
    ) -> None:
        """Each with its Kafka time, in ms."""
        topics = self.at.topics
        async with self.producing() as producer:
            sent = []
            for record, at in records:
                if isinstance(record, Transfer):
                    topic, value = topics.transfers, avro.encode_transfer(record, TRANSFER_ID)
                else:
                    topic, value = topics.balances, avro.encode_balance(record, BALANCE_ID)
                key = record.account.encode()
                sent.append(await producer.send(topic, value, key, partition, timestamp_ms=at))
            await asyncio.gather(*sent)

    async def write_garbage(self, count: int) -> None:
        """Beside each other, in partition 0 of the transfers."""
        async with self.producing() as producer:
            garbage = [await producer.send(self.at.topics.transfers, b"?", b"key", 0) for _ in range(count)]
            await asyncio.gather(*garbage)

    @asynccontextmanager
    async def producing(self, **more: Any) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.at.kafka, acks="all", linger_ms=20, **more)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def as_owner(self, statement: str) -> Any:
        """Of Postgres."""
        connection = await asyncpg.connect(self.at.database.url("owner"), timeout=10)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    @asynccontextmanager
    async def slow(self, seconds: float) -> AsyncIterator[None]:
        """Each batch of a projector takes Postgres so much longer."""
        body = f"begin perform pg_sleep({seconds}); return null; end"
        await self.as_owner(f"create or replace function slow() returns trigger language plpgsql as '{body}'")
        await self.as_owner(
            "create trigger slow after insert on transfer for each statement execute function slow()"
        )
        yield
        await self.as_owner("drop trigger slow on transfer")

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """A client follows every account of the feed."""
        url = f"ws://127.0.0.1:{self.services['gateway'].port}/ws"
        async with Client(url, token=token_source()) as client:
            for account in ACCOUNTS:
                client.follow(account)
            task = asyncio.create_task(_listen(client))
            try:
                async with asyncio.timeout(20):
                    while not all(map(client.account_state, ACCOUNTS)):  # noqa: ASYNC110 - no event
                        await asyncio.sleep(0.05)
                yield
            finally:
                task.cancel()


async def _listen(client: Client) -> None:
    async for _ in client.events():
        pass
