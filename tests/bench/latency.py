"""How long a transfer takes from its Kafka timestamp to a client, through all of Livebalance.

`python -m tests.bench.latency [--seconds 10]`

Real servers (fsync on), two projectors, one client at a gateway that follows every account. The clock of a
transfer starts with the timestamp that its producer gave it before sending; it ends when its frame was read
from the socket, before it is understood. Without a transaction there is no recorder: the way of a transfer
alone. With it, "balance" is the same until the balance that names the transfer comes. Rates are of transfer
records. One row is measured twice: what differs is noise.
"""

import argparse
import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import httpx
import psutil

from livebalance.client.client import Client
from livebalance.client.event import Changed
from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster, service_kind
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from tests.acceptance.end_to_end.feed_process import run_feed
from tests.tokens import token_source

ACCOUNTS = 8
WARM_UP = 3.0  # seconds of each row that do not count
FIRST_WITHIN = 30.0  # seconds for the first transfer of a row to arrive


@dataclass(frozen=True)
class Way:
    name: str
    rate: float  # transfer records a second
    plain: bool  # produced without a transaction


ALONE = [
    Way("without a transaction", 10, plain=True),
    Way("without a transaction", 1_000, plain=True),
    Way("without a transaction, again", 1_000, plain=True),
]
RECORDED = [
    Way("in Kafka transactions, recorded", 10, plain=False),
    Way("in Kafka transactions, recorded", 1_000, plain=False),
]


@dataclass
class Stopwatch:
    """What arrives at the client, with the time that it took in ms."""

    transfers: list[float] = field(default_factory=list)
    balances: list[float] = field(default_factory=list)
    frames: int = 0
    read_at: float = 0.0  # of the last frame, ms
    _sent: dict[str, float] = field(default_factory=dict)
    first: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, _: bytes) -> None:
        self.read_at = time.time() * 1000

    def changed(self, event: Changed) -> None:
        self.frames += 1
        for transfer in event.frame.transfers:
            sent = datetime.fromisoformat(transfer.occurred_at).timestamp() * 1000
            self._sent[transfer.id] = sent
            self.transfers.append(self.read_at - sent)
            self.first.set()
        balance = event.account.balance
        if balance and (sent := self._sent.pop(balance.transfer_id, 0.0)):
            self.balances.append(self.read_at - sent)

    def clear(self) -> None:
        self.transfers.clear()
        self.balances.clear()
        self.frames = 0


@dataclass(frozen=True)
class Quantiles:
    count: int
    p50: float  # ms
    p99: float

    @classmethod
    def of(cls, measured: Sequence[float]) -> "Quantiles":
        found = sorted(measured)
        at = [found[min(int(len(found) * q), len(found) - 1)] if found else float("nan") for q in (0.5, 0.99)]
        return cls(len(found), round(at[0], 1), round(at[1], 1))


@dataclass(frozen=True)
class Row:
    way: str
    rate: float
    transfers: Quantiles
    balances: Quantiles
    frames: int
    cpu_us: dict[str, int]  # of each kind of process, per transfer record
    stages_ms: dict[str, float]  # of a projector's batch, on average


def cpu_seconds(cluster: Cluster) -> dict[str, float]:
    """Of each kind of process until now, and of this one with the client in it."""
    spent = {"client": sum(psutil.Process().cpu_times()[:2])}
    for name, watch in cluster.supervisors.items():
        processes = [psutil.Process(watch.child.pid), *psutil.Process(watch.child.pid).children()]
        kind = service_kind(name)
        spent[kind] = spent.get(kind, 0.0) + sum(sum(one.cpu_times()[:2]) for one in processes)
    return spent


Stages = dict[str, tuple[float, float]]  # seconds, batches

_STAGE = re.compile(r'^livebalance_projector_batch_seconds_(sum|count)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


async def stages(cluster: Cluster) -> Stages:
    """What the projectors' batches took until now."""
    found: Stages = {}
    async with httpx.AsyncClient() as http:
        for service in cluster.services.values():
            if service.kind == "projector":
                text = (await http.get(f"http://127.0.0.1:{service.port}/metrics")).text
                for what, stage, value in _STAGE.findall(text):
                    seconds, batches = found.get(stage, (0.0, 0.0))
                    more = float(value)
                    found[stage] = (seconds + more, batches) if what == "sum" else (seconds, batches + more)
    return found


def averages(before: Stages, after: Stages) -> dict[str, float]:
    return {
        stage: round((seconds - before[stage][0]) / max(batches - before[stage][1], 1) * 1000, 2)
        for stage, (seconds, batches) in after.items()
    }


async def measure(cluster: Cluster, stopwatch: Stopwatch, number: int, way: Way, seconds: float) -> Row:
    stopwatch.first.clear()
    async with run_feed(
        cluster, number, accounts=ACCOUNTS, seed=number, rate=way.rate / 2, plain=way.plain
    ) as feed:
        await asyncio.wait_for(stopwatch.first.wait(), FIRST_WITHIN)
        await asyncio.sleep(WARM_UP)
        before = cpu_seconds(cluster)
        before["feed"] = sum(psutil.Process(feed.child.pid).cpu_times()[:2])
        staged = await stages(cluster)
        stopwatch.clear()
        await asyncio.sleep(seconds)
        after = cpu_seconds(cluster)
        after["feed"] = sum(psutil.Process(feed.child.pid).cpu_times()[:2])
        items = max(len(stopwatch.transfers), 1)
        spent = {kind: round((after[kind] - before[kind]) / items * 1e6) for kind in after}
        return Row(
            way.name,
            way.rate,
            Quantiles.of(stopwatch.transfers),
            Quantiles.of(stopwatch.balances),
            stopwatch.frames,
            spent if way.rate >= 100 else {},  # at a trickle only what is idle would be seen
            averages(staged, await stages(cluster)),
        )


async def listen(client: Client, stopwatch: Stopwatch) -> None:
    async for event in client.events():
        if isinstance(event, Changed):
            stopwatch.changed(event)


async def run(paths: StatePaths, recorders: int, ways: Sequence[Way], seconds: float) -> list[Row]:
    rows = []
    async with Cluster(
        paths, ClusterPlan(feeds=0, recorders=recorders, page=False, port=free_port())
    ) as cluster:
        stopwatch = Stopwatch()
        url = cluster.gateways[0].replace("http", "ws", 1) + "/ws"
        token = token_source(cluster.demo_secret)
        async with (
            Client(url, token=token, on_frame=stopwatch.heard) as client,
            asyncio.TaskGroup() as group,
        ):
            for n in range(1, ACCOUNTS + 1):
                client.follow(account_id(n))
            listening = group.create_task(listen(client, stopwatch))
            for number, way in enumerate(ways, 1):
                rows.append(await measure(cluster, stopwatch, number, way, seconds))
                print(line(rows[-1]), flush=True)
            listening.cancel()
    return rows


HEAD = f"{'transfers produced':32}{'/s':>7}{'seen':>8}{'p50 ms':>9}{'p99 ms':>9}{'balance p50':>13}{'p99':>8}"


def line(row: Row) -> str:
    to, by = row.transfers, row.balances
    return f"{row.way:32}{row.rate:>7}{to.count:>8}{to.p50:>9}{to.p99:>9}{by.p50:>13}{by.p99:>8}"


def table(title: str, rows: Sequence[tuple[Row, Mapping[str, float]]]) -> str:
    """A column for each name that any row has."""
    names = sorted({name for _, values in rows for name in values})
    head = f"{title:32}{'/s':>7}" + "".join(f"{name:>10}" for name in names)
    lines = [
        f"{row.way:32}{row.rate:>7}" + "".join(f"{values.get(name, ''):>10}" for name in names)
        for row, values in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row (10)")
    seconds = parser.parse_args().seconds
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before\n{HEAD}", flush=True)
    rows = []
    for recorders, ways in enumerate((ALONE, RECORDED)):
        with tempfile.TemporaryDirectory(prefix="latency-") as state:
            Path(state).chmod(0o755)  # Postgres may run as another user
            paths = StatePaths(StatePaths.from_environment().home, Path(state))
            rows += asyncio.run(run(paths, recorders, ways, seconds))
    print("\n" + table("CPU, us a transfer record", [(row, row.cpu_us) for row in rows if row.cpu_us]))
    print("\n" + table("a projector's batch, ms", [(row, row.stages_ms) for row in rows]))
    result = StatePaths.from_environment("bench").directory("latency") / "result.json"
    result.write_text(
        json.dumps(
            {"cores": os.cpu_count(), "load_before": load, "rows": [asdict(row) for row in rows]}, indent=1
        )
    )
    print(f"\n{result}")


if __name__ == "__main__":
    main()
