"""Time of a transfer from its Kafka timestamp to a client, through all of Livebalance.

`python -m tests.bench.latency [--seconds 10]`

Real servers (fsync on), two projectors, one client at a gateway that follows every account. The time of a
transfer starts at the timestamp that its producer gave it before sending. It ends when its frame has been
read from the socket, before it is decoded.

Without transactions no recorder runs, so only transfers are measured. With transactions, "balance" is the
time until the balance that names the transfer arrives. Rates are of transfer records. One row is measured
twice: the difference is noise.
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
WARM_UP = 3.0  # seconds at the start of each row that are not measured
FIRST_TIMEOUT = 30.0  # seconds until the first transfer of a row arrives


@dataclass(frozen=True)
class Scenario:
    """How the feed produces transfers. A row of the table."""

    name: str
    rate: float  # transfer records per second
    plain: bool  # without transactions


WITHOUT_RECORDER = [
    Scenario("without a transaction", 10, plain=True),
    Scenario("without a transaction", 1_000, plain=True),
    Scenario("without a transaction, again", 1_000, plain=True),
]
WITH_RECORDER = [
    Scenario("in Kafka transactions, recorded", 10, plain=False),
    Scenario("in Kafka transactions, recorded", 1_000, plain=False),
]


@dataclass
class Stopwatch:
    """Measures how long transfers and their balances took to arrive, in ms."""

    transfers: list[float] = field(default_factory=list)
    balances: list[float] = field(default_factory=list)
    frames: int = 0
    read_at: float = 0.0  # time of the last frame, ms
    _sent_at: dict[str, float] = field(default_factory=dict)  # transfers whose balance is outstanding
    first: asyncio.Event = field(default_factory=asyncio.Event)

    def note_frame(self, _: bytes) -> None:
        self.read_at = time.time() * 1000

    def note_change(self, event: Changed) -> None:
        self.frames += 1
        for transfer in event.frame.transfers:
            sent_at = datetime.fromisoformat(transfer.occurred_at).timestamp() * 1000
            self._sent_at[transfer.id] = sent_at
            self.transfers.append(self.read_at - sent_at)
            self.first.set()
        balance = event.account.balance
        if balance and (sent_at := self._sent_at.pop(balance.transfer_id, 0.0)):
            self.balances.append(self.read_at - sent_at)

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
    def of(cls, times: Sequence[float]) -> "Quantiles":
        ordered = sorted(times)
        p50, p99 = (
            ordered[min(int(len(ordered) * q), len(ordered) - 1)] if ordered else float("nan")
            for q in (0.5, 0.99)
        )
        return cls(len(ordered), round(p50, 1), round(p99, 1))


@dataclass(frozen=True)
class Row:
    scenario: str
    rate: float
    transfers: Quantiles
    balances: Quantiles
    frames: int
    cpu_us: dict[str, int]  # by kind of process, per transfer record
    stages_ms: dict[str, float]  # average of each stage of a projector's batch


def cpu_seconds(cluster: Cluster) -> dict[str, float]:
    """Returns the CPU time so far, by kind of process. "client" is this process."""
    seconds = {"client": sum(psutil.Process().cpu_times()[:2])}
    for name, supervisor in cluster.supervisors.items():
        process = psutil.Process(supervisor.child.pid)
        kind = service_kind(name)
        used = sum(sum(process_.cpu_times()[:2]) for process_ in [process, *process.children()])
        seconds[kind] = seconds.get(kind, 0.0) + used
    return seconds


Stages = dict[str, tuple[float, float]]  # seconds, batches

_STAGE = re.compile(r'^livebalance_projector_batch_seconds_(sum|count)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


async def read_stages(cluster: Cluster) -> Stages:
    """Returns the sums of all projectors so far, by stage of a batch."""
    stages: Stages = {}
    async with httpx.AsyncClient() as http:
        for service in cluster.services.values():
            if service.kind == "projector":
                text = (await http.get(f"http://127.0.0.1:{service.port}/metrics")).text
                for suffix, stage, value in _STAGE.findall(text):
                    seconds, batches = stages.get(stage, (0.0, 0.0))
                    if suffix == "sum":
                        seconds += float(value)
                    else:
                        batches += float(value)
                    stages[stage] = seconds, batches
    return stages


def averages(before: Stages, after: Stages) -> dict[str, float]:
    """Returns the average of each stage between two reads, in ms."""
    return {
        stage: round((seconds - before[stage][0]) / max(batches - before[stage][1], 1) * 1000, 2)
        for stage, (seconds, batches) in after.items()
    }


async def measure(
    cluster: Cluster, stopwatch: Stopwatch, number: int, scenario: Scenario, seconds: float
) -> Row:
    stopwatch.first.clear()
    async with run_feed(
        cluster, number, accounts=ACCOUNTS, seed=number, rate=scenario.rate / 2, plain=scenario.plain
    ) as feed:
        await asyncio.wait_for(stopwatch.first.wait(), FIRST_TIMEOUT)
        await asyncio.sleep(WARM_UP)
        before = cpu_seconds(cluster)
        before["feed"] = sum(psutil.Process(feed.child.pid).cpu_times()[:2])
        stages_before = await read_stages(cluster)
        stopwatch.clear()
        await asyncio.sleep(seconds)
        after = cpu_seconds(cluster)
        after["feed"] = sum(psutil.Process(feed.child.pid).cpu_times()[:2])
        records = max(len(stopwatch.transfers), 1)
        cpu_us = {kind: round((after[kind] - before[kind]) / records * 1e6) for kind in after}
        return Row(
            scenario.name,
            scenario.rate,
            Quantiles.of(stopwatch.transfers),
            Quantiles.of(stopwatch.balances),
            stopwatch.frames,
            cpu_us if scenario.rate >= 100 else {},  # at a low rate it would be the CPU time of idling
            averages(stages_before, await read_stages(cluster)),
        )


async def receive(client: Client, stopwatch: Stopwatch) -> None:
    async for event in client.events():
        if isinstance(event, Changed):
            stopwatch.note_change(event)


async def run(paths: StatePaths, recorders: int, scenarios: Sequence[Scenario], seconds: float) -> list[Row]:
    rows = []
    async with Cluster(
        paths, ClusterPlan(feeds=0, recorders=recorders, page=False, port=free_port())
    ) as cluster:
        stopwatch = Stopwatch()
        url = cluster.gateways[0].replace("http", "ws", 1) + "/ws"
        token = token_source(cluster.demo_secret)
        async with (
            Client(url, token=token, on_frame=stopwatch.note_frame) as client,
            asyncio.TaskGroup() as group,
        ):
            for n in range(1, ACCOUNTS + 1):
                client.follow(account_id(n))
            receiving = group.create_task(receive(client, stopwatch))
            for number, scenario in enumerate(scenarios, 1):
                rows.append(await measure(cluster, stopwatch, number, scenario, seconds))
                print(format_row(rows[-1]), flush=True)
            receiving.cancel()
    return rows


HEADER = (
    f"{'transfers produced':32}{'/s':>7}{'received':>9}{'p50 ms':>9}{'p99 ms':>9}"
    f"{'balance p50 ms':>16}{'p99 ms':>9}"
)


def format_row(row: Row) -> str:
    transfers, balances = row.transfers, row.balances
    return (
        f"{row.scenario:32}{row.rate:>7}{transfers.count:>9}{transfers.p50:>9}{transfers.p99:>9}"
        f"{balances.p50:>16}{balances.p99:>9}"
    )


def format_table(title: str, rows: Sequence[tuple[Row, Mapping[str, float]]]) -> str:
    """Returns a table with a column for each name that any row has."""
    widths = {name: max(10, len(name) + 2) for _, values in rows for name in values}
    columns = sorted(widths.items())
    header = f"{title:32}{'/s':>7}" + "".join(f"{name:>{width}}" for name, width in columns)
    lines = [
        f"{row.scenario:32}{row.rate:>7}"
        + "".join(f"{values.get(name, ''):>{width}}" for name, width in columns)
        for row, values in rows
    ]
    return "\n".join([header, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds to measure for each row (10)")
    seconds = parser.parse_args().seconds
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before\n{HEADER}", flush=True)
    rows = []
    for recorders, scenarios in enumerate((WITHOUT_RECORDER, WITH_RECORDER)):
        with tempfile.TemporaryDirectory(prefix="latency-") as state:
            Path(state).chmod(0o755)  # Postgres may run as another user
            paths = StatePaths(StatePaths.from_environment().home, Path(state))
            rows += asyncio.run(run(paths, recorders, scenarios, seconds))
    print(
        "\n" + format_table("CPU us per transfer record", [(row, row.cpu_us) for row in rows if row.cpu_us])
    )
    print("\n" + format_table("ms per projector batch", [(row, row.stages_ms) for row in rows]))
    path = StatePaths.from_environment("bench").directory("latency") / "result.json"
    results = {"cores": os.cpu_count(), "load_before": load, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(results, indent=1))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
