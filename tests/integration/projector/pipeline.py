"""A test's Kafka topics, database and Redis channels, and the projectors that run on them."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer

from livebalance.projector.__main__ import started
from livebalance.projector.projector import Projector
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import lanes_from_start
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.servers.database import Database
from tests.settings_environment import environment_of

Row = Any  # an asyncpg.Record

TIME_MS = 1_795_540_800_000


def transfer(account: str, id_: str, unscaled: int, scale: int = 2) -> Transfer:
    return Transfer(TransferId(id_), AccountId(account), Money(unscaled, scale), TIME_MS)


def balance(account: str, version: int, id_: str, unscaled: int, scale: int = 2) -> Balance:
    return Balance(AccountId(account), "client", TransferId(id_), Money(unscaled, scale), version)


def history(account: str, amounts: Iterable[int], first: int = 1) -> list[Transfer | Balance]:
    """Returns transfers of an account and the balance after each, as a recorder writes them; opened at 0."""
    total, records = 0, list[Transfer | Balance]()
    if first == 1:
        records.append(balance(account, 0, "", 0))
    for version, amount in enumerate(amounts, first):
        total += amount
        records.append(transfer(account, f"t-{version}", amount))
        records.append(balance(account, version, f"t-{version}", total))
    return records


@dataclass
class Pipeline:
    """Runs projectors on the real servers of a test, writes records, and queries the results."""

    kafka: str
    topics: Topics
    database: Database
    redis: str
    prefix: str
    directory: Path
    children: list[ChildProcess] = field(default_factory=list)

    def settings(self, name: str = "projector-1", **changed: Any) -> ProjectorSettings:
        given: dict[str, Any] = {
            "name": name,
            "kafka": self.kafka,
            "transfers_topic": self.topics.transfers,
            "balances_topic": self.topics.balances,
            "lifecycle_topic": self.topics.lifecycle or "no-lifecycle",
            "postgres": self.database.url("projector"),
            "redis": self.redis,
            "channel_prefix": self.prefix,
            "projector_group": f"projector-{self.prefix}",
            "currency": "EUR",
        }
        return ProjectorSettings(**{**given, **changed})

    def start(self, name: str = "projector-1", crash_at: str = "", **changed: Any) -> ChildProcess:
        """Starts a projector in a process of its own."""
        environment = environment_of(self.settings(name, **changed))
        if crash_at:
            environment["LIVEBALANCE_FAILPOINT"] = crash_at
        command = [sys.executable, "-m", "livebalance.projector"]
        path = {"PATH": os.environ["PATH"]}
        child = ChildProcess(name, command, self.directory / f"{name}.log", {**path, **environment})
        child.start()
        self.children.append(child)
        return child

    def stop(self) -> None:
        for child in self.children:
            child.send(signal.SIGCONT)
            child.stop()

    async def write(
        self, records: Iterable[Transfer | Balance], partition: int | None = None, at: Millis | None = None
    ) -> None:
        """Writes records to their topics in this order, acknowledged. `at`: Kafka's time of each record."""
        async with kafka_producer(self.kafka) as producer:
            sent = []
            for record in records:
                topic, value = self._encoded(record)
                sent.append(await producer.send(topic, value, record.account.encode(), partition, at))
            await asyncio.gather(*sent)

    async def write_in_transactions(self, records: Iterable[Transfer | Balance], id_: str) -> float:
        """Writes each record in its own Kafka transaction, every second record first in an aborted one.

        Returns the seconds that the longest transaction took.
        """
        longest = 0.0
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, transactional_id=id_)
        await producer.start()
        try:
            for number, record in enumerate(records):
                topic, value = self._encoded(record)
                for aborted in [True] * (number % 2) + [False]:
                    began = time.monotonic()
                    await producer.begin_transaction()
                    await producer.send_and_wait(topic, value, record.account.encode())
                    await (producer.abort_transaction() if aborted else producer.commit_transaction())
                    longest = max(longest, time.monotonic() - began)
        finally:
            await producer.stop()
        return longest

    @asynccontextmanager
    async def open_transaction(self, record: Transfer | Balance) -> AsyncIterator[None]:
        """Writes a record in a transaction that stays open while the block runs, and then aborts it."""
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, transactional_id=f"{self.prefix}-hangs")
        await producer.start()
        try:
            await producer.begin_transaction()
            topic, value = self._encoded(record)
            await producer.send_and_wait(topic, value, record.account.encode())
            yield
            await producer.abort_transaction()
        finally:
            await producer.stop()

    def _encoded(self, record: Transfer | Balance) -> tuple[str, bytes]:
        if isinstance(record, Transfer):
            return self.topics.transfers, avro.encode_transfer(record, TRANSFER_ID)
        return self.topics.balances, avro.encode_balance(record, BALANCE_ID)

    async def write_raw(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None
    ) -> None:
        async with kafka_producer(self.kafka) as producer:
            await producer.send_and_wait(topic, value, key, partition, headers=[("h", b"\x00\xff")])

    async def query(self, query: str, *given: object) -> list[Row]:
        """Queries Postgres with the role `owner`."""
        connection = await asyncpg.connect(self.database.url("owner"), timeout=30)
        try:
            return await connection.fetch(query, *given)
        finally:
            await connection.close()

    async def accounts(self) -> dict[str, Row]:
        return {row["account_id"]: row for row in await self.query("select * from balance")}

    async def transfer_ids(self, account: str) -> list[str]:
        rows = await self.query(
            "select transfer_id from transfer where account_id = $1 order by revision", account
        )
        return [row["transfer_id"] for row in rows]

    async def count_transfers(self) -> int:
        """Returns the number of listed transfers."""
        return int((await self.query("select count(*) from transfer"))[0][0])

    async def wait_for(self, query: str, expected: object, seconds: float = 60.0, why: str = "") -> None:
        """Repeats a query until its first value is `expected`. Raises AssertionError after `seconds`."""
        connection = await asyncpg.connect(self.database.url("owner"), timeout=30)
        value: object = None
        try:
            async with asyncio.timeout(seconds):
                while (value := await connection.fetchval(query)) != expected:  # noqa: ASYNC110 - SQL has no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            logs = "\n".join(line for child in self.children for line in child.tail(15))
            raise AssertionError(f"{query}: {value!r}, not {expected!r} {why}\n{logs}") from None
        finally:
            await connection.close()

    @asynccontextmanager
    async def running(self, name: str = "projector-1", **changed: Any) -> AsyncIterator[Projector]:
        """Runs a projector in the test's event loop. Its error, if any, is raised at the end of the block."""
        stopping = asyncio.Event()
        async with started(
            self.settings(name, **changed), lanes_from_start(self.topics.partitions)
        ) as projector:
            task = asyncio.create_task(projector.run(stopping))
            try:
                yield projector
            except BaseException:  # the test's error tells more than the loop's
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                raise
            stopping.set()
            async with asyncio.timeout(30):
                await task

    async def assert_exact(self, written: Iterable[Transfer | Balance]) -> None:
        """Asserts that each written record was applied once and in order, and that the sums are right."""
        records = list(written)
        accounts = await self.accounts()
        assert accounts.keys() == {record.account for record in records}
        for id_, row in accounts.items():
            own = [record for record in records if record.account == id_]
            transfers = [record for record in own if isinstance(record, Transfer)]
            assert await self.transfer_ids(id_) == [record.id for record in transfers]
            assert row["revision"] == len(own)
            assert row["transfer_count"] == len(transfers)
            assert (row["drift"], row["half_applied"], row["disputed_since"]) == (0, 0, None)
            newest = max(
                (record for record in own if isinstance(record, Balance)), key=lambda record: record.version
            )
            assert (row["version"], row["balance"]) == (newest.version, Decimal(str(newest.amount)))
        totals = await self.query(
            "select count(*) from (select total, sum(amount) over (partition by account_id order by revision)"
            " as summed from transfer) each where total <> summed"
        )
        assert totals[0][0] == 0

    async def wait_until_applied(self, records: Sized, seconds: float = 60.0) -> None:
        """Waits until as many records are applied as `records` has."""
        await self.wait_for("select coalesce(sum(revision), 0)::int from balance", len(records), seconds)


@asynccontextmanager
async def kafka_producer(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    """Yields a producer that uses no transactions."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=2)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until `condition()` is true. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
