"""docs/metrics.md and running processes have the same metrics, and their values follow what happens."""

import asyncio
import re
from collections.abc import AsyncIterator
from math import isnan

import pytest
import pytest_asyncio

from livebalance.stack.cluster import Cluster, service_kind
from livebalance.stack.paths import PROJECT, StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from livebalance.stack.servers.topics import Topics
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.scrape import Scrape, scrape, wait_for_metrics
from tests.tokens import claims, sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOPICS = Topics("counted-transfers", "counted-balances", 2)
PLAN = {"projectors": 1, "gateways": 1, "accounts": 4, "rate": 50.0, "page": False, "durable": False}
_ROW = re.compile(r"^\| `(livebalance_\w+)` \| (\w+) \| (.*?) \| .+ \|$", re.MULTILINE)


def documented_metrics() -> dict[str, dict[str, tuple[str, set[str]]]]:
    """Returns the documented metrics of each service: name to type and names of the labels."""
    text = (PROJECT / "docs" / "metrics.md").read_text()
    sections = {part.partition("\n")[0].lower(): part for part in text.split("\n## ")[1:]}
    metrics = {
        title: {
            name: (type_, set(re.findall(r"`(\w+)`", labels)))
            for name, type_, labels in _ROW.findall(section)
        }
        for title, section in sections.items()
    }
    shared = metrics.pop("all services")
    return {title: {**shared, **own} for title, own in metrics.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(paths: StatePaths) -> AsyncIterator[Cluster]:
    own_paths = StatePaths(paths.home, paths.state / "counted")
    async with Cluster(own_paths, ClusterPlan(port=free_port(), topics=TOPICS, **PLAN)) as cluster:  # type: ignore[arg-type]
        yield cluster


def url(cluster: Cluster, name: str) -> str:
    return cluster.services[name].operations


async def test_metrics_of_each_service_are_the_documented_ones(cluster: Cluster) -> None:
    documented = documented_metrics()
    assert {service_kind(name) for name in cluster.services} == set(documented)
    for name in cluster.services:
        kind = service_kind(name)
        scraped = await scrape(url(cluster, name))
        assert scraped.types == {metric: type_ for metric, (type_, _) in documented[kind].items()}
        for metric, (_, labels) in documented[kind].items():
            for suffix in ("", "_bucket", "_sum", "_count"):
                for sample in scraped.of(metric + suffix):
                    assert set(sample.labels) - {"le"} == labels, sample
        assert scraped.sum("livebalance_info", service=kind) == 1
        assert scraped.sum("process_cpu_seconds_total") > 0


async def test_metrics_of_a_transfer_count_it_in_each_service_and_end_without_lag(cluster: Cluster) -> None:
    """The feed and the recorder write in transactions, whose markers follow the last record."""
    recorder, projector, gateway = (
        url(cluster, f"{kind}-1") for kind in ("recorder", "projector", "gateway")
    )
    websocket_url = cluster.gateways[0].replace("http", "ws") + "/ws"
    async with WebSocketClient(websocket_url, token=sign(claims(), cluster.demo_secret)) as client:
        await client.subscribe("acc-0001", "acc-0002")
        await client.until(lambda: len(client.of_type("delta")) >= 20)
        received = len(client.frames)
        # The client may have got a transfer from Postgres, if its delta was late.
        scraped = await wait_for_metrics(
            gateway,
            lambda scraped: (
                not isnan(scraped.sum("livebalance_gateway_stale_seconds"))
                and scraped.sum("livebalance_gateway_received_deltas_total") >= 20
                and scraped.sum("livebalance_gateway_pipeline_state", state="live") == 1
            ),
        )
        assert scraped.sum("livebalance_gateway_sessions") == 1
        assert scraped.sum("livebalance_gateway_subscriptions") == 2
        assert scraped.sum("livebalance_gateway_channels") == 2
        assert scraped.sum("livebalance_gateway_deliveries_total") >= received
        assert scraped.sum("livebalance_gateway_snapshots_total", reason="subscribed") == 2
        assert scraped.sum("livebalance_gateway_pipeline_state") == 1
        assert 0 <= scraped.sum("livebalance_gateway_stale_seconds") < 20
        assert 0 < scraped.sum("livebalance_gateway_redis_probe_seconds") < 5
        latency = "livebalance_gateway_commit_to_socket_seconds"
        count = scraped.sum(f"{latency}_count")
        assert 1 <= count <= scraped.sum("livebalance_gateway_received_deltas_total")
        assert 0 < scraped.sum(f"{latency}_sum") / count < 20

    await cluster.supervisors["feed-1"].stop()
    of_recorder, of_projector = await wait_until_idle(recorder, projector)
    assert of_recorder.sum("livebalance_recorder_partitions", state="running") == 2
    stages = {
        sample.labels["stage"]
        for sample in of_recorder.of("livebalance_recorder_batch_seconds_count")
        if sample.value
    }
    assert stages == {"apply", "send", "commit"}
    assert of_projector.sum("livebalance_projector_lanes", state="running") == 2
    assert len(list(of_projector.of("livebalance_projector_epoch_info"))) == 1
    assert all(sample.value for sample in of_projector.of("livebalance_projector_batch_seconds_count"))
    for name in (
        "disputed_accounts",
        "drifting_accounts",
        "fenced_total",
        "epoch_changes_total",
        "unverified_seconds",
    ):
        assert of_projector.sum(f"livebalance_projector_{name}") == 0
    for scraped in (of_recorder, of_projector, await scrape(gateway)):
        with_account = [sample for sample in scraped.samples if "acc-" in "".join(sample.labels.values())]
        assert not with_account


async def wait_until_idle(recorder: str, projector: str) -> tuple[Scrape, Scrape]:
    """Returns the metrics of both once neither has a lag and the projector has applied all records."""
    async with asyncio.timeout(30):
        while True:
            of_recorder = await wait_for_metrics(recorder, lambda scraped: has_no_lag(scraped, "recorder"))
            applied = of_recorder.sum("livebalance_recorder_transfers_total", verdict="applied")
            records = applied * 2 + 4  # a transfer and its balance; the feed has opened four accounts
            of_projector = await wait_for_metrics(projector, lambda scraped: has_no_lag(scraped, "projector"))
            if of_projector.sum("livebalance_projector_records_applied_total") == records:
                return of_recorder, of_projector


def has_no_lag(scraped: Scrape, kind: str) -> bool:
    lags = [*scraped.of(f"livebalance_{kind}_lag_records"), *scraped.of(f"livebalance_{kind}_lag_seconds")]
    return bool(lags) and not any(sample.value for sample in lags)
