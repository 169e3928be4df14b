"""Cost of a slow client for other clients, and whether the slow client misses anything.

`python -m tests.bench.slow_client [--seconds 10]`

All of Livebalance, fed with 1,000 transfer records per second. During the second of three phases, one client
reads 20 kB per second through a receive buffer of 4 KiB. In the first and third phase it reads everything
like the other client: the difference between these two is noise. At the end the slow client catches up.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import psutil
from msgspec import json
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from livebalance.client.client import Client
from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from livebalance.wire.frame import SUBPROTOCOL, Auth, ChannelRequest, Subscribe, encode_frame
from livebalance.wire.identity import channel_name
from tests.acceptance.end_to_end.feed_process import run_feed
from tests.bench.latency.stages import Quantiles
from tests.bench.latency.stopwatch import Stopwatch, receive
from tests.integration.gateway.narrow_socket import narrow_socket
from tests.tokens import token_source

ACCOUNTS = 8
RATE = 1_000  # transfer records per second
BYTES_PER_SECOND = 20_000
CATCH_UP_TIMEOUT = 60.0  # seconds


@dataclass
class SlowClientLog:
    """What the slow client received, by channel. Asserts that deltas follow each other without a gap."""

    revisions: dict[str, int] = field(default_factory=dict)
    transfers: dict[str, list[str]] = field(default_factory=dict)
    deltas: int = 0
    max_transfers: int = 0  # in one delta

    def add(self, text: str) -> None:
        frame = json.decode(text)
        if frame["type"] == "snapshot":
            assert not frame["transfers"], "the client subscribes before the first transfer"
            self.revisions[frame["channel"]] = frame["revision"]
        elif frame["type"] == "delta":
            assert self.revisions[frame["channel"]] == frame["from"], "a delta follows the last revision"
            self.revisions[frame["channel"]] = frame["to"]
            ids = [transfer["id"] for transfer in frame["transfers"]]
            self.transfers.setdefault(frame["channel"], []).extend(ids)
            self.deltas += 1
            self.max_transfers = max(self.max_transfers, len(ids))


@contextlib.asynccontextmanager
async def slow_client(url: str, token: str, log: SlowClientLog, hurry: asyncio.Event) -> AsyncIterator[None]:
    """Runs a client that reads at most BYTES_PER_SECOND, or as fast as it can while `hurry` is set."""
    async with connect(
        url,
        sock=narrow_socket(url),
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_queue=1,
        max_size=None,
        proxy=None,
        ping_interval=None,
    ) as connection:

        async def read() -> None:
            async for text in connection:
                assert isinstance(text, str)
                log.add(text)
                if not hurry.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(hurry.wait(), len(text) / BYTES_PER_SECOND)

        channels = [ChannelRequest(channel_name(account_id(n))) for n in range(1, ACCOUNTS + 1)]
        await connection.send(encode_frame(Auth(token)).decode())
        await connection.send(encode_frame(Subscribe(1, channels)).decode())
        reader = asyncio.create_task(read())
        yield
        reader.cancel()
        await asyncio.wait({reader})
        if not reader.cancelled():
            reader.result()


def resident_kib(cluster: Cluster) -> int:
    """Returns the resident memory of the first gateway, in KiB."""
    return int(psutil.Process(cluster.supervisors["gateway-1"].child.pid).memory_info().rss) // 1024


@dataclass(frozen=True)
class Phase:
    """Times of the other client in a phase, and the gateway's memory at its end."""

    name: str
    times: Quantiles
    resident_kib: int


async def measure_phase(cluster: Cluster, name: str, stopwatch: Stopwatch, seconds: float) -> Phase:
    stopwatch.clear()
    await asyncio.sleep(seconds)
    return Phase(name, Quantiles.of(stopwatch.transfers), resident_kib(cluster))


async def read_transfer_ids(cluster: Cluster) -> dict[str, list[str]]:
    """Returns the ids of all transfers in Postgres, by channel, in order of revision."""
    connection = await asyncpg.connect(cluster.postgres("operator"))
    try:
        rows = await connection.fetch("select account_id, transfer_id from transfer order by revision")
    finally:
        await connection.close()
    ids: dict[str, list[str]] = {}
    for row in rows:
        ids.setdefault(channel_name(row["account_id"]), []).append(row["transfer_id"])
    return ids


async def run(paths: StatePaths, seconds: float) -> None:
    plan = ClusterPlan(feeds=0, recorders=0, page=False, port=free_port())
    async with Cluster(paths, plan) as cluster:
        stopwatch, log, hurry = Stopwatch(), SlowClientLog(), asyncio.Event()
        url = cluster.gateways[0].replace("http", "ws", 1) + "/ws"
        token = token_source(cluster.demo_secret)
        async with (
            Client(url, token=token, on_frame=stopwatch.note_frame) as client,
            asyncio.TaskGroup() as group,
        ):
            for n in range(1, ACCOUNTS + 1):
                client.follow(account_id(n))
            receiving = group.create_task(receive(client, stopwatch))
            async with slow_client(url, await token(), log, hurry):
                hurry.set()
                async with run_feed(cluster, 1, accounts=ACCOUNTS, seed=1, rate=RATE / 2, plain=True):
                    await asyncio.wait_for(stopwatch.first.wait(), 30)
                    await asyncio.sleep(5)
                    phases = [await measure_phase(cluster, "no slow client", stopwatch, seconds)]
                    hurry.clear()
                    phases.append(await measure_phase(cluster, "one reads 20 kB/s", stopwatch, seconds))
                    hurry.set()
                    phases.append(await measure_phase(cluster, "no slow client", stopwatch, seconds))
                await assert_caught_up(cluster, log)
            receiving.cancel()
    for phase in phases:
        times = phase.times
        print(f"{phase.name:20}{times.count:>10}{times.p50:>9}{times.p99:>9}{phase.resident_kib:>14,}")
    print(
        f"\nthe slow client received {log.deltas:,} deltas with up to {log.max_transfers:,} transfers each,"
        " and missed no transfer"
    )


async def assert_caught_up(cluster: Cluster, log: SlowClientLog) -> None:
    """Asserts that the slow client soon has exactly the transfers of Postgres, in their order."""
    async with asyncio.timeout(CATCH_UP_TIMEOUT):
        while log.transfers != await read_transfer_ids(cluster):  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each phase (10)")
    seconds = parser.parse_args().seconds
    print(f"{'phase':20}{'transfers':>10}{'p50 ms':>9}{'p99 ms':>9}{'resident KiB':>14}")
    with tempfile.TemporaryDirectory(prefix="slow-") as state:
        Path(state).chmod(0o755)  # Postgres may run as another user
        asyncio.run(run(StatePaths(StatePaths.from_environment().home, Path(state)), seconds))


if __name__ == "__main__":
    main()
