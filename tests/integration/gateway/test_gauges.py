"""What a gateway measures, beside what it counts: how much is here, how old it is, how long it takes."""

import signal
import time
from collections.abc import Callable

from livebalance.stack.servers.servers import Servers
from livebalance.wire.timestamp import Millis
from tests.integration.gateway.conftest import RunningGateway, StartGateway, StartProcess
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.scrape import Scrape, scrape, wait_for_metrics

PREFIX = "livebalance_gateway"


def shown(**expected: float) -> Callable[[Scrape], bool]:
    return lambda now: all(now.sum(f"{PREFIX}_{name}") == value for name, value in expected.items())


def state(now: Scrape) -> list[str]:
    return [one.labels["state"] for one in now.of(f"{PREFIX}_pipeline_state") if one.value]


async def test_what_is_followed_by_whom(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("alice", "bob")
    async with WebSocketClient(gateway.ws) as one:
        await one.subscribe("alice", "bob")
        async with WebSocketClient(gateway.ws) as other:
            await other.subscribe("alice")
            await other.until_at("alice", 1)
            await wait_for_metrics(gateway.http, shown(sessions=2, subscriptions=3, channels=2))
        await wait_for_metrics(gateway.http, shown(sessions=1, subscriptions=2, channels=2))
    await wait_for_metrics(gateway.http, shown(sessions=0, subscriptions=0, channels=0))


async def test_every_frame_that_a_client_gets_is_a_delivery(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    before = (await scrape(gateway.http)).sum(f"{PREFIX}_deliveries_total")
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        for amount in range(1, 6):
            await projector.transfer("alice", amount)
        await client.until_at("alice", 11)
        await wait_for_metrics(
            gateway.http,
            lambda now: now.sum(f"{PREFIX}_deliveries_total") - before == len(client.frames),
        )
        so_far = len(client.frames)
    await wait_for_metrics(gateway.http, shown(sessions=0))
    assert (await scrape(gateway.http)).sum(f"{PREFIX}_deliveries_total") - before >= so_far


async def test_what_waits_for_those_who_want_it_seldom(
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
        await wait_for_metrics(gateway.http, lambda now: now.sum(f"{PREFIX}_client_queue_bytes") > 100)
        await client.request("rate", max_per_second=None)
        await client.until_at("alice", 5)
    await wait_for_metrics(gateway.http, shown(client_queue_bytes=0))


async def test_deltas_are_timed(gateway: RunningGateway, projector: FakeProjector) -> None:
    count = f"{PREFIX}_commit_to_socket_seconds_count"
    before = (await scrape(gateway.http)).sum(count)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        await projector.transfer("alice", 1)
        await client.until_at("alice", 3)
        await wait_for_metrics(gateway.http, lambda now: now.sum(count) > before)


async def test_how_old_what_is_shown_is(projector: FakeProjector, start_gateway: StartGateway) -> None:
    projector.as_of = Millis(time.time_ns() // 1_000_000 - 5_000)
    await projector.advance()
    gateway = await start_gateway(audit_interval_seconds=0.3)
    found = await wait_for_metrics(gateway.http, lambda now: state(now) == ["live"])
    assert 4 <= found.sum(f"{PREFIX}_stale_seconds") < 20  # it advances by a second
    await wait_for_metrics(gateway.http, lambda now: state(now) == ["stalled"], 30)


async def test_a_drain_is_shown_while_it_lasts(projector: FakeProjector, start_process: StartProcess) -> None:
    process = await start_process("gateway-1", drain_period_seconds=4.0)
    async with WebSocketClient(process.ws) as client:
        await client.until(lambda: client.of_type("welcome"))
        assert shown(draining=0)(await scrape(process.http))
        process.child.send(signal.SIGTERM)
        await client.until(lambda: client.of_type("goaway"))
        assert shown(draining=1)(await scrape(process.http))


async def test_probes_that_do_not_come_back(
    projector: FakeProjector, start_process: StartProcess, own_redis: Servers
) -> None:
    process = await start_process("gateway-1", redis=own_redis.redis(), redis_probe_interval_seconds=0.5)
    redis = own_redis.own["redis"].child
    await wait_for_metrics(process.http, lambda now: now.sum(f"{PREFIX}_redis_probe_seconds") > 0)
    assert shown(probe_missed_total=0)(await scrape(process.http))
    redis.send(signal.SIGSTOP)
    try:
        found = await wait_for_metrics(
            process.http, lambda now: now.sum(f"{PREFIX}_redis_disconnects_total", reason="deaf") == 1
        )
    finally:
        redis.send(signal.SIGCONT)
    assert found.sum(f"{PREFIX}_redis_probes_missed_total") == 2
