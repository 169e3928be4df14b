"""What a client that reads too slowly costs the others, and whether it misses anything.

`python -m tests.bench.slow_client [--seconds 10]`

All of Livebalance, fed with 1,000 transfer records a second. One client reads 20 kB a second through a
receive buffer of 4 KiB, for a third of the run; the others read all they get. The run before and the run
after are without it: what differs between those two is noise. At its end the slow one catches up.
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
from livebalance.client.event import Changed
from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from livebalance.wire.frame import SUBPROTOCOL, Auth, ChannelRequest, Subscribe, encode_frame
from livebalance.wire.identity import channel_name
from tests.acceptance.end_to_end.feed_process import run_feed
from tests.bench.latency import Quantiles, Stopwatch
from tests.integration.gateway.narrow_socket import narrow_socket
from tests.tokens import token_source

ACCOUNTS = 8
RATE = 1_000  # transfer records a second
BYTES_PER_SECOND = 20_000
CATCH_UP = 60.0  # seconds


@dataclass
class Slow:
    """What it was sent, account by account: each delta must chain."""

    revisions: dict[str, int] = field(default_factory=dict)
    transfers: dict[str, list[str]] = field(default_factory=dict)
    frames: int = 0
    most: int = 0  # transfers in one delta

    def take(self, text: str) -> None:
        frame = json.decode(text)
        if frame["type"] == "snapshot":
            assert not frame["transfers"], "it follows from the beginning"
            self.revisions[frame["channel"]] = frame["revision"]
        elif frame["type"] == "delta":
            assert self.revisions[frame["channel"]] == frame["from"], "deltas chain"
            self.revisions[frame["channel"]] = frame["to"]
            self.transfers.setdefault(frame["channel"], []).extend(one["id"] for one in frame["transfers"])
            self.frames += 1
            self.most = max(self.most, len(frame["transfers"]))


@contextlib.asynccontextmanager
async def reading_slowly(url: str, given: str, slow: Slow, hurry: asyncio.Event) -> AsyncIterator[None]:
    """Until `hurry` is set no more than 20 kB a second; then as fast as they come."""
    options = {"compression": None, "max_queue": 1, "max_size": None, "proxy": None, "ping_interval": None}
    async with connect(
        url, sock=narrow_socket(url), subprotocols=[Subprotocol(SUBPROTOCOL)], **options
    ) as one:  # type: ignore[arg-type]

        async def read() -> None:
            async for text in one:
                assert isinstance(text, str)
                slow.take(text)
                if not hurry.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(hurry.wait(), len(text) / BYTES_PER_SECOND)

        channels = [ChannelRequest(channel_name(account_id(n))) for n in range(1, ACCOUNTS + 1)]
        await one.send(encode_frame(Auth(given)).decode())
        await one.send(encode_frame(Subscribe(1, channels)).decode())
        reader = asyncio.create_task(read())
        yield
        reader.cancel()
        await asyncio.wait({reader})
        if not reader.cancelled():
            reader.result()


def resident(cluster: Cluster) -> int:
    """KiB of the first gateway."""
    return int(psutil.Process(cluster.supervisors["gateway-1"].child.pid).memory_info().rss) // 1024


@dataclass(frozen=True)
class Third:
    name: str
    quick: Quantiles
    resident: int


async def third(cluster: Cluster, name: str, stopwatch: Stopwatch, seconds: float) -> Third:
    stopwatch.clear()
    await asyncio.sleep(seconds)
    return Third(name, Quantiles.of(stopwatch.transfers), resident(cluster))


async def listen(client: Client, stopwatch: Stopwatch) -> None:
    async for event in client.events():
        if isinstance(event, Changed):
            stopwatch.changed(event)


async def truth(cluster: Cluster) -> dict[str, list[str]]:
    connection = await asyncpg.connect(cluster.postgres("operator"))
    try:
        rows = await connection.fetch("select account_id, transfer_id from transfer order by revision")
    finally:
        await connection.close()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(channel_name(row["account_id"]), []).append(row["transfer_id"])
    return found


async def run(paths: StatePaths, seconds: float) -> None:
    plan = ClusterPlan(feeds=0, recorders=0, page=False, port=free_port())
    async with Cluster(paths, plan) as cluster:
        stopwatch, slow, hurry = Stopwatch(), Slow(), asyncio.Event()
        url = cluster.gateways[0].replace("http", "ws", 1) + "/ws"
        token = token_source(cluster.demo_secret)
        async with (
            Client(url, token=token, on_frame=stopwatch.heard) as client,
            asyncio.TaskGroup() as group,
        ):
            for n in range(1, ACCOUNTS + 1):
                client.follow(account_id(n))
            listening = group.create_task(listen(client, stopwatch))
            async with reading_slowly(url, await token(), slow, hurry):
                hurry.set()
                async with run_feed(cluster, 1, accounts=ACCOUNTS, seed=1, rate=RATE / 2, plain=True):
                    await asyncio.wait_for(stopwatch.first.wait(), 30)
                    await asyncio.sleep(5)
                    thirds = [await third(cluster, "all read", stopwatch, seconds)]
                    hurry.clear()
                    thirds.append(await third(cluster, "one reads 20 kB/s", stopwatch, seconds))
                    hurry.set()
                    thirds.append(await third(cluster, "all read again", stopwatch, seconds))
                await caught_up(cluster, slow)
            listening.cancel()
    for one in thirds:
        print(f"{one.name:20}{one.quick.count:>9}{one.quick.p50:>9}{one.quick.p99:>9}{one.resident:>14,}")
    print(
        f"\nthe slow one got {slow.frames:,} deltas, up to {slow.most:,} transfers in one, and every transfer"
    )


async def caught_up(cluster: Cluster, slow: Slow) -> None:
    """Its log holds exactly what Postgres does, in order."""
    async with asyncio.timeout(CATCH_UP):
        while slow.transfers != await truth(cluster):  # noqa: ASYNC110 - Postgres tells nobody
            await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each third (10)")
    seconds = parser.parse_args().seconds
    print(f"{'':20}{'seen':>9}{'p50 ms':>9}{'p99 ms':>9}{'resident KiB':>14}")
    with tempfile.TemporaryDirectory(prefix="slow-") as state:
        Path(state).chmod(0o755)  # Postgres may run as another user
        asyncio.run(run(StatePaths(StatePaths.from_environment().home, Path(state)), seconds))


if __name__ == "__main__":
    main()
