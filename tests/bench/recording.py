"""CPU time and records per second of a recorder, by the number of accounts that the transfers belong to.

`python -m tests.bench.recording [--transfers 100000] [--accounts 1000 50000]`

One recorder as a process on its own Kafka and Postgres, with one partition. The transfers wait in Kafka when
it starts; each account has a balance already. What a start costs without transfers is subtracted.
"""

import argparse
import asyncio
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.schema.file_registry import TRANSFER_ID
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka import avro
from tests.bench.bench_servers import run_on_servers
from tests.integration.recorder.many_balances import account_id, write_balances
from tests.integration.recorder.recorder_process import recorder_process, settings
from tests.integration.recorder.topic_records import plain_producer, transfer
from tests.servers.database import Database

_LIMIT_SECONDS = 600.0


async def write_transfers(kafka: str, topics: Topics, count: int, accounts: int, first: int) -> None:
    """Writes transfers of random accounts to partition 0."""
    choices = random.Random(first)
    async with plain_producer(kafka) as producer:
        for number in range(first, first + count):
            record = transfer(f"t-{number}", account_id(choices.randrange(accounts)), 1)
            value = avro.encode_transfer(record, TRANSFER_ID)
            await producer.send(topics.transfers, value, record.account.encode(), 0)
        await producer.flush()


async def wait_until_recorded(kafka: str, topics: Topics, offset: int) -> None:
    """Waits until the group's offset of partition 0 is `offset`."""
    group, at = f"recorder-of-{topics.transfers}", TopicPartition(topics.transfers, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            while True:
                offsets = await admin.list_consumer_group_offsets(group)
                if at in offsets and offsets[at].offset >= offset:
                    return
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def measure(servers: Servers, topics: Topics, database: Database, end: int) -> tuple[float, float]:
    """Returns CPU seconds and seconds of a recorder until it has recorded up to `end`."""
    with TemporaryDirectory() as home:
        process = recorder_process(settings(servers.kafka, topics, database), Path(home) / "log")
        begin = time.perf_counter()
        process.start()
        try:
            await wait_until_recorded(servers.kafka, topics, end)
            times = psutil.Process(process.pid).cpu_times()
            return times.user + times.system, time.perf_counter() - begin
        finally:
            await asyncio.to_thread(process.stop)


async def benchmark(servers: Servers, transfers: int, counts: list[int]) -> None:
    print(f"{'accounts':>10}{'CPU us/transfer':>17}{'transfers/s':>13}")
    for accounts in counts:
        topics = Topics(f"t-{accounts}", f"b-{accounts}", 1)
        database = Database(servers.postgres, f"bench_{accounts}")
        await database.create()
        await topics.create(Broker(servers.kafka))
        await write_balances(servers.kafka, topics, 0, range(accounts))
        await write_transfers(servers.kafka, topics, 1, accounts, 0)
        start_cpu, start_seconds = await measure(servers, topics, database, 1)
        await write_transfers(servers.kafka, topics, transfers, accounts, 1)
        cpu, seconds = await measure(servers, topics, database, 1 + transfers)
        print(
            f"{accounts:10,}{(cpu - start_cpu) / transfers * 1e6:17.1f}"
            f"{transfers / (seconds - start_seconds):13,.0f}",
            flush=True,
        )
        await database.drop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--transfers", type=int, default=100_000)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1_000, 50_000])
    given = parser.parse_args()
    run_on_servers(lambda servers: benchmark(servers, given.transfers, given.accounts), "kafka", "postgres")


if __name__ == "__main__":
    main()
