"""The gauges and the histogram of a gateway: clients, subscriptions, queues, age and latency."""

import signal
import time
from collections.abc import Callable

import pytest

from livebalance.stack.servers.servers import Servers
from livebalance.wire.timestamp import Millis
from tests.integration.gateway.conftest import RunningGateway, StartGateway, StartProcess
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.scrape import Scrape, scrape, wait_for_metrics

PREFIX = "livebalance_gateway"


def gauges(**expected: float) -> Callable[[Scrape], bool]:
    """Returns a condition: a scrape has these values."""
    return lambda now: all(now.sum(f"{PREFIX}_{name}") == value for name, value in expected.items())


def state(now: Scrape) -> list[str]:
    return [sample.labels["state"] for sample in now.of(f"{PREFIX}_pipeline_state") if sample.value]


async def test_sessions_subscriptions_and_channels_are_counted(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice", "bob")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", "bob")
        async with WebSocketClient(gateway.ws) as other:
            await other.subscribe("alice")
            await other.until_at("alice", 1)
            await wait_for_metrics(gateway.operations, gauges(sessions=2, subscriptions=3, channels=2))
        await wait_for_metrics(gateway.operations, gauges(sessions=1, subscriptions=2, channels=2))
    await wait_for_metrics(gateway.operations, gauges(sessions=0, subscriptions=0, channels=0))


async def test_each_frame_that_a_client_gets_is_a_delivery(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    before = (await scrape(gateway.operations)).sum(f"{PREFIX}_deliveries_total")
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        for amount in range(1, 6):
            await projector.transfer("alice", amount)
        await client.until_at("alice", 11)
        await wait_for_metrics(
            gateway.operations,
            lambda now: now.sum(f"{PREFIX}_deliveries_total") - before == len(client.frames),
        )
        so_far = len(client.frames)
    await wait_for_metrics(gateway.operations, gauges(sessions=0))
    assert (await scrape(gateway.operations)).sum(f"{PREFIX}_deliveries_total") - before >= so_far


async def test_queue_bytes_of_rate_limited_client_are_shown(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        await client.request("rate", max_per_second=0.02)
        await projector.transfer("alice", 1)
        await client.until_at("alice", 3)
        await projector.transfer("alice", 2)
        await wait_for_metrics(gateway.operations, lambda now: now.sum(f"{PREFIX}_client_queue_bytes") > 100)
        await client.request("rate", max_per_second=None)
        await client.until_at("alice", 5)
    await wait_for_metrics(gateway.operations, gauges(client_queue_bytes=0))


async def test_delta_latency_is_observed(gateway: RunningGateway, projector: FakeProjector) -> None:
    count = f"{PREFIX}_commit_to_socket_seconds_count"
    before = (await scrape(gateway.operations)).sum(count)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        await projector.transfer("alice", 1)
        await client.until_at("alice", 3)
        await wait_for_metrics(gateway.operations, lambda now: now.sum(count) > before)


async def test_stale_seconds_shows_the_age_of_the_lanes(
    projector: FakeProjector, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    projector.as_of = Millis(time.time_ns() // 1_000_000 - 5_000)
    await projector.advance()
    gateway = await start_gateway(audit_interval_seconds=0.3)
    scraped = await wait_for_metrics(gateway.operations, lambda now: state(now) == ["live"])
    assert 4 <= scraped.sum(f"{PREFIX}_stale_seconds") < 60  # `advance` adds a second
    monkeypatch.setattr("livebalance.gateway.live.status.STALLED_AFTER", 0.5)
    await wait_for_metrics(gateway.operations, lambda now: state(now) == ["stalled"])


async def test_draining_is_one_during_a_drain(projector: FakeProjector, start_process: StartProcess) -> None:
    process = await start_process("gateway-1", drain_period_seconds=600.0)
    async with WebSocketClient(process.ws) as client:
        await client.until(lambda: client.of_type("welcome"))
        assert gauges(draining=0)(await scrape(process.operations))
        process.child.send(signal.SIGTERM)
        await client.until(lambda: client.of_type("goaway"))
        assert gauges(draining=1)(await scrape(process.operations))


async def test_missed_probes_are_counted(
    projector: FakeProjector, start_process: StartProcess, own_redis: Servers
) -> None:
    process = await start_process("gateway-1", redis=own_redis.redis(), redis_probe_interval_seconds=2.0)
    redis = own_redis.embedded["redis"].child
    await wait_for_metrics(process.operations, lambda now: now.sum(f"{PREFIX}_redis_probe_seconds") > 0)
    missed = f"{PREFIX}_redis_probes_missed_total"
    before = (await scrape(process.operations)).sum(missed)  # a busy machine may be late to answer the first
    redis.send(signal.SIGSTOP)
    try:
        scraped = await wait_for_metrics(
            process.operations, lambda now: now.sum(f"{PREFIX}_redis_disconnects_total", reason="deaf") == 1
        )
    finally:
        redis.send(signal.SIGCONT)
    assert scraped.sum(missed) - before == 2
