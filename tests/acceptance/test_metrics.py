"""docs/metrics.md and what running processes show: the same metrics, and values that follow what happens."""

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


def page() -> dict[str, dict[str, tuple[str, set[str]]]]:
    """Of each service: the metrics it shows, each with its type and the names of its labels."""
    text = (PROJECT / "docs" / "metrics.md").read_text()
    parts = {part.partition("\n")[0].lower(): part for part in text.split("\n## ")[1:]}
    rows = {
        title: {
            name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in _ROW.findall(part)
        }
        for title, part in parts.items()
    }
    shared = rows.pop("all services")
    return {title: {**shared, **own} for title, own in rows.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(paths: StatePaths) -> AsyncIterator[Cluster]:
    here = StatePaths(paths.home, paths.state / "counted")
    async with Cluster(here, ClusterPlan(port=free_port(), topics=TOPICS, **PLAN)) as one:  # type: ignore[arg-type]
        yield one


def url(cluster: Cluster, name: str) -> str:
    return f"http://127.0.0.1:{cluster.services[name].port}"


async def test_what_is_shown_is_on_the_page_and_the_other_way_round(cluster: Cluster) -> None:
    documented = page()
    assert {service_kind(name) for name in cluster.services} == set(documented)
    for name in cluster.services:
        kind = service_kind(name)
        found = await scrape(url(cluster, name))
        assert found.types == {metric: type_ for metric, (type_, _) in documented[kind].items()}
        for metric, (_, labels) in documented[kind].items():
            for sample in (
                one for part in ("", "_bucket", "_sum", "_count") for one in found.of(metric + part)
            ):
                assert set(sample.labels) - {"le"} == labels, sample
        assert found.sum("livebalance_info", service=kind) == 1
        assert found.sum("process_cpu_seconds_total") > 0


async def test_a_movement_is_counted_all_the_way_and_at_rest_nothing_waits(cluster: Cluster) -> None:
    """The feed and the recorder write in transactions: their markers are behind the last record."""
    recorder, projector, gateway = (
        url(cluster, f"{kind}-1") for kind in ("recorder", "projector", "gateway")
    )
    door = gateway.replace("http", "ws") + "/ws"
    async with WebSocketClient(door, token=sign(claims(), cluster.demo_secret)) as viewer:
        await viewer.subscribe("acc-0001", "acc-0002")
        await viewer.until(lambda: len(viewer.of_type("delta")) >= 20)
        received = len(viewer.frames)
        seen = await wait_for_metrics(
            gateway, lambda now: not isnan(now.sum("livebalance_gateway_stale_seconds"))
        )
        assert seen.sum("livebalance_gateway_sessions") == 1
        assert seen.sum("livebalance_gateway_subscriptions") == seen.sum("livebalance_gateway_channels") == 2
        assert seen.sum("livebalance_gateway_deliveries_total") >= received
        assert seen.sum("livebalance_gateway_received_deltas_total") >= 20
        assert seen.sum("livebalance_gateway_snapshots_total", reason="subscribed") == 2
        assert seen.sum("livebalance_gateway_pipeline_state", state="live") == 1
        assert seen.sum("livebalance_gateway_pipeline_state") == 1
        assert 0 <= seen.sum("livebalance_gateway_stale_seconds") < 20
        assert 0 < seen.sum("livebalance_gateway_redis_probe_seconds") < 5
        took = "livebalance_gateway_commit_to_socket_seconds"
        assert 1 <= seen.sum(f"{took}_count") <= seen.sum("livebalance_gateway_received_deltas_total")
        assert 0 < seen.sum(f"{took}_sum") / seen.sum(f"{took}_count") < 20

    await cluster.supervisors["feed-1"].stop()
    done, rest = await resting(recorder, projector)
    assert done.sum("livebalance_recorder_partitions") == 2
    stages = {one.labels["stage"] for one in done.of("livebalance_recorder_batch_seconds_count") if one.value}
    assert stages == {"apply", "send", "commit"}
    assert rest.sum("livebalance_projector_lanes", state="running") == 2
    assert len(list(rest.of("livebalance_projector_epoch_info"))) == 1
    assert all(one.value for one in rest.of("livebalance_projector_batch_seconds_count"))
    for name in (
        "disputed_accounts",
        "drifting_accounts",
        "fenced_total",
        "epoch_changes_total",
        "unverified_seconds",
    ):
        assert rest.sum(f"livebalance_projector_{name}") == 0
    for one in (done, rest, await scrape(gateway)):
        assert not [sample for sample in one.samples if "acc-" in "".join(sample.labels.values())]


async def resting(recorder: str, projector: str) -> tuple[Scrape, Scrape]:
    """Both, once the projector has all that the recorder made, and nothing waits for either."""
    async with asyncio.timeout(30):
        while True:
            done = await wait_for_metrics(recorder, lambda now: at_rest(now, "recorder"))
            made = done.sum("livebalance_recorder_transfers_total", verdict="applied")
            records = made * 2 + 4  # a transfer and its balance; the feed has opened four accounts
            rest = await wait_for_metrics(projector, lambda now: at_rest(now, "projector"))
            if rest.sum("livebalance_projector_records_applied_total") == records:
                return done, rest


def at_rest(now: Scrape, kind: str) -> bool:
    lags = [*now.of(f"livebalance_{kind}_lag_records"), *now.of(f"livebalance_{kind}_lag_seconds")]
    return bool(lags) and not any(one.value for one in lags)
