"""Time and memory of a recorder's start on many accounts: without saved accounts, and with them.

`python -m tests.bench.restore [--accounts 10000000] [--partitions 8]`

One recorder as a process, on its own Kafka and Postgres. `ready` is the time from the start of the process
until /readyz says ok. The memory is what is resident then, less that of a recorder without accounts.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
from aiokafka import TopicPartition

from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import read_range
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.stack.paths import free_port
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.record import Balance
from tests.bench.bench_servers import run_on_servers
from tests.integration.recorder.many_balances import account_id, write_balances
from tests.integration.recorder.recorder_process import recorder_process, settings
from tests.integration.recorder.topic_records import send_transfers, transfer, wait_until
from tests.servers.database import Database

_WRITER = FileRegistry().writer_schema
_LIMIT_SECONDS = 1_500.0


@dataclass
class Start:
    """What a start of the recorder took."""

    seconds: float
    resident_bytes: int
    peak_bytes: int


@asynccontextmanager
async def started(recorder_settings: RecorderSettings, log: Path) -> AsyncIterator[Start]:
    """A recorder's process that is ready."""
    process = recorder_process(recorder_settings, log)
    begin, peak = time.perf_counter(), 0
    process.start()
    try:
        memory = psutil.Process(process.pid)
        url = f"http://127.0.0.1:{recorder_settings.http_port}/readyz"
        async with httpx.AsyncClient() as http, asyncio.timeout(_LIMIT_SECONDS):
            while not await is_ready(http, url):
                peak = max(peak, memory.memory_info().rss)
                await asyncio.sleep(0.1)
        seconds = time.perf_counter() - begin
        resident = memory.memory_info().rss
        yield Start(seconds, resident, max(peak, resident))
    finally:
        await asyncio.to_thread(process.stop)


async def is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


async def benchmark(servers: Servers, accounts: int, partitions: int) -> None:
    database = Database(servers.postgres, "bench")
    await database.create()
    with tempfile.TemporaryDirectory() as home:
        empty, full = (
            Topics(f"{name}-transfers", f"{name}-balances", partitions) for name in ("empty", "full")
        )
        for topics in (empty, full):
            await topics.create(Broker(servers.kafka))
        log = Path(home) / "recorder.log"
        directory, port = Path(home) / "accounts", free_port()
        of_topics = partial(settings, http_port=port, accounts_directory=directory)
        async with started(of_topics(servers.kafka, empty, database), log) as start:
            base = start.resident_bytes
        await database.drop()
        await database.create()
        begin = time.perf_counter()
        share = accounts // partitions
        for number in range(partitions):
            numbers = range(number * share, (number + 1) * share)
            await write_balances(servers.kafka, full, number, numbers)
        print(f"{accounts:,} balances written in {time.perf_counter() - begin:.0f} s", flush=True)
        recorder_settings = of_topics(servers.kafka, full, database)
        print(f"{'':24}{'ready s':>9}{'MiB':>8}{'peak MiB':>10}{'bytes/account':>15}")
        for name in ("without saved accounts", "with saved accounts"):
            async with started(recorder_settings, log) as start:
                show(name, start, base, accounts)
                await record_transfer(servers.kafka, full, name, share)
        saved = sum(file.stat().st_size for file in directory.iterdir())
        print(f"saved: {saved / accounts:.0f} bytes/account")
    await database.drop()


async def record_transfer(kafka: str, topics: Topics, name: str, share: int) -> None:
    """Records a transfer of 0.01 to the last account of partition 0, and checks its balance."""
    account, partition = account_id(share - 1), TopicPartition(topics.balances, 0)
    id_ = name.replace(" ", "-")
    await send_transfers(kafka, topics, [transfer(id_, account, 1)], 0)
    balances: list[Balance] = []

    async def is_recorded() -> bool:
        records: list[RawRecord] = []
        await read_range(Broker(kafka), partition, records.append, start=share)
        balances[:] = [avro.decode_balance(record.value or b"", _WRITER) for record in records]
        return any(balance.transfer_id == id_ for balance in balances)

    await wait_until(is_recorded)
    assert balances[-1].amount.unscaled == share - 1 + len(balances)


def show(name: str, start: Start, base: int, accounts: int) -> None:
    grown = (start.peak_bytes - base) / accounts
    print(
        f"{name:24}{start.seconds:9.1f}{start.resident_bytes / 2**20:8.0f}{start.peak_bytes / 2**20:10.0f}"
        f"{grown:15.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=10_000_000)
    parser.add_argument("--partitions", type=int, default=8)
    arguments = parser.parse_args()
    run_on_servers(
        lambda servers: benchmark(servers, arguments.accounts, arguments.partitions), "kafka", "postgres"
    )


if __name__ == "__main__":
    main()
