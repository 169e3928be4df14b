"""Real services that a real Prometheus watches, and what a test writes to their topics."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

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
from tests.prometheus import Prometheus, shorten
from tests.servers.database import Database
from tests.tokens import SECRET, token_source

ACCOUNTS = [AccountId(f"acc-{number:04}") for number in range(1, 65)]
MAX_CONSECUTIVE_REJECTS = 3
REWOUND = 100  # transfers of each partition
MAX_RECORDER_REJECTS = 12  # more than the invalid records that halt a lane of the projector

# Settings that make a fault visible sooner than in production. The expressions of the alerts are unchanged.
QUICK = {
    "feed": {},
    "recorder": {
        "LIVEBALANCE_BATCH_RECORDS": "50",
        "LIVEBALANCE_MAX_CONSECUTIVE_REJECTS": str(MAX_RECORDER_REJECTS),
    },
    "projector": {
        "LIVEBALANCE_BATCH_RECORDS": "50",
        "LIVEBALANCE_MAX_CONSECUTIVE_REJECTS": str(MAX_CONSECUTIVE_REJECTS),
        "LIVEBALANCE_DELTA_KEY": SECRET,
    },
    "gateway": {
        "LIVEBALANCE_DELTA_KEY": SECRET,
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "0.5",
        "LIVEBALANCE_REDIS_PROBE_INTERVAL_SECONDS": "0.5",
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": "0.1",
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    },
}
FEED_OPTIONS = ["--accounts", str(len(ACCOUNTS)), "--rate", "100"]


class Addresses(NamedTuple):
    """Servers and names that the services share."""

    paths: StatePaths
    kafka: str
    topics: Topics
    database: Database
    redis: Servers
    channel_prefix: str


class MonitoredStack:
    """One process of each service, and a Prometheus. Nothing runs until it is started."""

    def __init__(self, addresses: Addresses, directory: Path) -> None:
        self.addresses, self._directory = addresses, directory
        self.services = {kind: self._service(kind) for kind in QUICK}
        ports = [service.operations_port for service in self.services.values()]
        self.prometheus = Prometheus(directory, shorten(RULES.read_text()), ports)

    def _service(self, kind: str) -> Service:
        addresses = self.addresses
        environment = {
            "LIVEBALANCE_KAFKA": addresses.kafka,
            "LIVEBALANCE_TRANSFERS_TOPIC": addresses.topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": addresses.topics.balances,
            "LIVEBALANCE_REDIS": addresses.redis.redis(),
            "LIVEBALANCE_CHANNEL_PREFIX": addresses.channel_prefix,
            "LIVEBALANCE_PROJECTOR_GROUP": f"projector-{addresses.topics.transfers}",
            "LIVEBALANCE_RECORDER_GROUP": f"recorder-{addresses.topics.transfers}",
        }
        if kind != "feed":
            environment["LIVEBALANCE_POSTGRES"] = addresses.database.url(kind)
        paths = StatePaths(addresses.paths.home, self._directory)
        options = FEED_OPTIONS if kind == "feed" else []
        return create_service(paths, kind, 1, {**environment, **QUICK[kind]}, options)

    async def start(self, kind: str) -> None:
        """Starts a service, and returns when it is ready."""
        service = self.services[kind]
        service.child.start()
        async with asyncio.timeout(30):
            while not await service.is_ready():
                assert service.child.pid, service.child.tail()
                await asyncio.sleep(0.05)

    async def scraped(self, kind: str) -> None:
        """Waits until Prometheus has scraped the current process of a service."""
        service = self.services[kind]
        started_at = psutil.Process(service.child.pid).create_time()
        instance = f"127.0.0.1:{service.operations_port}"
        query = f'process_start_time_seconds{{instance="{instance}"}} >= {started_at - 1}'
        async with asyncio.timeout(30):
            while not await self.prometheus.query(query):  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0.1)

    async def end(self, kind: str) -> None:
        """Stops a service."""
        await asyncio.to_thread(self.services[kind].child.stop)

    async def stop(self) -> None:
        """Stops all services, the feed first, and Prometheus."""
        for kind in self.services:
            await self.end(kind)
        await self.prometheus.stop()

    async def write(
        self, records: Iterable[tuple[Transfer | Balance, int]], partition: int | None = None
    ) -> None:
        """Produces records, each with its Kafka timestamp in ms."""
        topics = self.addresses.topics
        async with self.producing() as producer:
            sent = []
            for record, timestamp_ms in records:
                if isinstance(record, Transfer):
                    topic, value = topics.transfers, avro.encode_transfer(record, TRANSFER_ID)
                else:
                    topic, value = topics.balances, avro.encode_balance(record, BALANCE_ID)
                key = record.account.encode()
                sent.append(await producer.send(topic, value, key, partition, timestamp_ms=timestamp_ms))
            await asyncio.gather(*sent)

    async def write_invalid_records(self, count: int) -> None:
        """Produces adjacent records that are no Avro, in partition 0 of the transfers."""
        topic = self.addresses.topics.transfers
        async with self.producing() as producer:
            await asyncio.gather(*[await producer.send(topic, b"?", b"key", 0) for _ in range(count)])

    async def set_recorder_group_back(self) -> None:
        """Sets the recorders' group back by some transfers of each partition. No recorder may run.

        The recorder repeats those soon enough to be up to date when the next fault begins.
        """
        topics = self.addresses.topics
        partitions = [TopicPartition(topics.transfers, number) for number in range(topics.partitions)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.addresses.kafka,
            group_id=f"recorder-{topics.transfers}",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.commit({partition: max(0, end - REWOUND) for partition, end in ends.items()})
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def producing(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        """Opens a producer with further `options` of aiokafka."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.addresses.kafka, acks="all", linger_ms=20, **options
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def execute_as_owner(self, statement: str) -> Any:
        """Executes a statement as the owner of the database, and returns the first value of the first row."""
        connection = await asyncpg.connect(self.addresses.database.url("owner"), timeout=30)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    @asynccontextmanager
    async def slow_postgres(self, seconds: float) -> AsyncIterator[None]:
        """Makes each batch of a projector take this many seconds longer in Postgres."""
        body = f"begin perform pg_sleep({seconds}); return null; end"
        await self.execute_as_owner(
            f"create or replace function slow() returns trigger language plpgsql as '{body}'"
        )
        await self.execute_as_owner(
            "create trigger slow after insert on transfer for each statement execute function slow()"
        )
        yield
        await self.execute_as_owner("drop trigger slow on transfer")

    @asynccontextmanager
    async def subscribed_client(self) -> AsyncIterator[None]:
        """Keeps a client subscribed to every account of the feed."""
        url = f"ws://127.0.0.1:{self.services['gateway'].port}/ws"
        async with Client(url, token=token_source()) as client:
            for account in ACCOUNTS:
                client.follow(account)
            task = asyncio.create_task(_discard_events(client))
            try:
                async with asyncio.timeout(30):
                    while not all(map(client.account_state, ACCOUNTS)):  # noqa: ASYNC110 - no event to await
                        await asyncio.sleep(0.05)
                yield
            finally:
                task.cancel()

    @asynccontextmanager
    async def followed_set(self, channel: str) -> AsyncIterator[None]:
        """Keeps a client subscribed to a set, whose total all lanes keep."""
        url = f"ws://127.0.0.1:{self.services['gateway'].port}/ws"
        async with Client(url, token=token_source()) as client:
            client.follow_set(channel)
            task = asyncio.create_task(_discard_events(client))
            counted = "select (select count(*) from counted_set) = (select count(*) from lane)"
            try:
                async with asyncio.timeout(30):
                    while not await self.execute_as_owner(counted):  # noqa: ASYNC110 - SQL has no event
                        await asyncio.sleep(0.1)
                yield
            finally:
                task.cancel()


async def _discard_events(client: Client) -> None:
    async for _ in client.events():
        pass
