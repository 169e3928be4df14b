"""Runs a cluster whose services log their moments, and a client that follows all its accounts."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from livebalance.client.client import Client
from livebalance.client.event import Changed
from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster, service_kind
from livebalance.stack.paths import PROJECT, StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from tests.acceptance.end_to_end.feed_process import run_feed
from tests.bench.latency import probe
from tests.bench.latency.stages import Stages, read_moments, stages
from tests.tokens import token_source

ACCOUNTS = 8
WARM_UP = 2.0  # seconds at the start of each row that are not measured
FIRST_WARM_UP = 15.0  # seconds before the first row: a cold broker takes twice the CPU time for a transaction
ARRIVAL = 1.0  # seconds after each row in which the last records may arrive
FIRST_TIMEOUT = 30.0  # seconds until the first transfer of a row arrives


@dataclass(frozen=True)
class Scenario:
    """How the feed produces transfers. A row of the table."""

    name: str
    rate: float  # transfer records per second
    plain: bool  # without transactions


@dataclass(frozen=True)
class Window:
    """What was measured of a scenario while it ran."""

    scenario: Scenario
    begin_ns: int  # of the monotonic clock
    end_ns: int
    busy: float  # share of all cores, by all processes of the machine
    own: float  # share of all cores, by this benchmark
    cpu_us: Mapping[str, int]  # by kind of process, per transfer record


@dataclass(frozen=True)
class Row:
    window: Window
    stages: Stages


@dataclass
class Receiver:
    """Keeps the frames that a client reads, and when it reads them."""

    frames: list[tuple[int, bytes]] = field(default_factory=list)
    transfers: int = 0

    def note_frame(self, frame: bytes) -> None:
        self.frames.append((time.monotonic_ns(), frame))

    async def receive(self, client: Client) -> None:
        async for event in client.events():
            if isinstance(event, Changed):
                self.transfers += len(event.frame.transfers)

    async def wait(self) -> None:
        """Waits for a transfer."""
        before = self.transfers
        async with asyncio.timeout(FIRST_TIMEOUT):
            while self.transfers == before:  # noqa: ASYNC110 - the receiver runs in the same loop
                await asyncio.sleep(0.01)

    def moments(self) -> list[probe.Moment]:
        return [probe.moment("client has it", ns, [bytes(frame)]) for ns, frame in self.frames]


def cpu_seconds(cluster: Cluster, feed: int | None) -> dict[str, float]:
    """Returns the CPU time so far, by kind of process. "client" is this process."""
    seconds = {"client": sum(psutil.Process().cpu_times()[:2])}
    processes = [(service_kind(name), owner.child.pid) for name, owner in cluster.supervisors.items()]
    for kind, pid in [*processes, ("feed", feed)]:
        process = psutil.Process(pid)
        used = sum(sum(each.cpu_times()[:2]) for each in [process, *process.children()])
        seconds[kind] = seconds.get(kind, 0.0) + used
    return seconds


async def measure(
    cluster: Cluster, receiver: Receiver, number: int, scenario: Scenario, seconds: float
) -> Window:
    async with run_feed(
        cluster, number, accounts=ACCOUNTS, seed=number, rate=scenario.rate / 2, plain=scenario.plain
    ) as feed:
        await receiver.wait()
        await asyncio.sleep(WARM_UP)
        before, records = cpu_seconds(cluster, feed.child.pid), receiver.transfers
        psutil.cpu_percent()
        begin_ns = time.monotonic_ns()
        await asyncio.sleep(seconds)
        end_ns = time.monotonic_ns()
        busy = psutil.cpu_percent() / 100
        after, received = cpu_seconds(cluster, feed.child.pid), max(1, receiver.transfers - records)
        await asyncio.sleep(ARRIVAL)
    cpu_us = {kind: round((after[kind] - before[kind]) / received * 1e6) for kind in after}
    own = (sum(after.values()) - sum(before.values())) / seconds / (os.cpu_count() or 1)
    return Window(scenario, begin_ns, end_ns, busy, own, cpu_us)


async def run(paths: StatePaths, recorders: int, scenarios: Sequence[Scenario], seconds: float) -> list[Row]:
    """Returns the rows of a cluster, once it has ended."""
    log = paths.directory("moments")
    os.environ.update({probe.VARIABLE: str(log), "PYTHONPATH": f"{Path(__file__).parent / 'site'}:{PROJECT}"})
    plan = ClusterPlan(feeds=0, recorders=recorders, gateways=1, page=False, port=free_port())
    windows, receiver = list[Window](), Receiver()
    async with Cluster(paths, plan) as cluster:
        url = cluster.gateways[0].replace("http", "ws", 1) + "/ws"
        token = token_source(cluster.demo_secret)
        async with (
            Client(url, token=token, on_frame=receiver.note_frame) as client,
            asyncio.TaskGroup() as group,
        ):
            for n in range(1, ACCOUNTS + 1):
                client.follow(account_id(n))
            receiving = group.create_task(receiver.receive(client))
            await measure(cluster, receiver, 1, scenarios[-1], FIRST_WARM_UP)
            for number, scenario in enumerate(scenarios, 2):
                windows.append(await measure(cluster, receiver, number, scenario, seconds))
            receiving.cancel()
    moments = sorted([*read_moments(log), *receiver.moments()], key=lambda moment: moment.time_ns)
    return [Row(window, stages(moments, window.begin_ns, window.end_ns)) for window in windows]
