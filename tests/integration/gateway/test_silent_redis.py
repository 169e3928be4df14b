"""Redis that delivers nothing on open connections, or drops messages: only the gateway can notice.

Scheduled audits are too rare here to repair anything. The audit after a reconnect does.
"""

import asyncio
import signal
import time

import pytest
import redis.asyncio

from livebalance.stack.servers.servers import Servers
from livebalance.wire.delta import encode_delta, redis_account_channel
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.faulty_proxy import faulty_proxy
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient

AUDIT_SECONDS = 3600.0
ACCOUNTS = [f"a-{number}" for number in range(20)]


@pytest.fixture
def redis_url(own_redis: Servers) -> str:
    return own_redis.redis()


@pytest.fixture
async def projector(projector: FakeProjector) -> FakeProjector:
    """The lanes are complete as of now, so that the pipeline is live without another audit."""
    projector.as_of = Millis(time.time_ns() // 1_000_000)
    await projector.advance()
    return projector


def states(client: WebSocketClient) -> list[str]:
    return [frame["state"] for frame in client.of_type("status")]


class Watch:
    """A client that is subscribed to all accounts, and the gateway's counters since `begin`."""

    def __init__(self, gateway: RunningGateway, projector: FakeProjector, client: WebSocketClient) -> None:
        self._gateway, self._projector, self._client = gateway, projector, client
        self._before: dict[str, float] = {}

    async def begin(self) -> None:
        await self._projector.open(*ACCOUNTS)
        await self._client.subscribe(*ACCOUNTS)
        await self._client.until(lambda: len(self._client.shown) == len(ACCOUNTS))
        await self._client.until(lambda: states(self._client)[-1:] == ["live"])
        self._before = await self._counters()

    async def _counters(self) -> dict[str, float]:
        counter = self._gateway.counter
        reasons = ("deaf", "closed", "timeout")
        disconnects = {reason: await counter("redis_disconnects", reason=reason) for reason in reasons}
        found = await counter("audit_findings", reason="ahead")
        return {**disconnects, "found": found, "repaired": await counter("gap_repairs", reason="audit")}

    async def grown(self) -> dict[str, float]:
        return {name: count - self._before[name] for name, count in (await self._counters()).items()}

    async def write_silently(self) -> None:
        """Writes transfers to Postgres without a message in Redis."""
        self._projector.silent = True
        await self._projector.write({account: [5, None] for account in ACCOUNTS})
        self._projector.silent = False

    async def until_current(self) -> None:
        for account in ACCOUNTS:
            expected = self._projector.account(account)
            assert_shows(await self._client.until_at(account, expected.revision), expected)
        await self._client.until(lambda: states(self._client)[-1] == "live")


@pytest.mark.parametrize("new_ones_too", [False, True])
async def test_connection_that_delivers_nothing_is_replaced(
    start_gateway: StartGateway, projector: FakeProjector, redis_url: str, new_ones_too: bool
) -> None:
    """F17. The connection stays open and accepts commands. New connections may do the same for a while."""
    async with faulty_proxy(redis_url) as (proxy, url):
        gateway = await start_gateway(
            redis=url, audit_interval_seconds=AUDIT_SECONDS, redis_probe_interval_seconds=0.5
        )
        async with WebSocketClient(gateway.ws) as client:
            watch = Watch(gateway, projector, client)
            await watch.begin()
            connections = proxy.connections
            proxy.drops_new = new_ones_too
            proxy.drop_all()
            await watch.write_silently()
            await client.until(lambda: states(client)[-1] == "stalled")
            assert client.of_type("status")[-1]["reason"] == "live updates are unavailable"
            assert (await watch.grown())["deaf"] == 1
            proxy.drops_new = False
            await watch.until_current()
            assert proxy.connections > connections
            grown = await watch.grown()
            assert (grown["found"], grown["repaired"]) == (len(ACCOUNTS), len(ACCOUNTS))
            await projector.write({account: [6, None] for account in ACCOUNTS})
            await watch.until_current()
            assert (await watch.grown())["repaired"] == len(ACCOUNTS)  # these came as deltas


async def test_stopped_redis_that_continues_is_subscribed_again(
    start_gateway: StartGateway, projector: FakeProjector, own_redis: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F19. The kernel accepts connections for the stopped Redis, so each attempt to reconnect times out."""
    monkeypatch.setattr("livebalance.gateway.redis.node_subscriber.CONNECT_TIMEOUT", 0.5)
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS, redis_probe_interval_seconds=0.5)
    child = own_redis.embedded["redis"].child
    async with WebSocketClient(gateway.ws) as client:
        watch = Watch(gateway, projector, client)
        await watch.begin()
        child.send(signal.SIGSTOP)
        try:
            await watch.write_silently()
            await client.until(lambda: states(client)[-1] == "stalled")
            async with asyncio.timeout(30):
                while (await watch.grown())["timeout"] < 3:
                    pass
            await watch.write_silently()
            # Later, a Redis that is slow to answer would be deaf, too.
            assert (await watch.grown())["deaf"] == 1
        finally:
            child.send(signal.SIGCONT)
        await watch.until_current()
        grown = await watch.grown()
        assert (grown["found"], grown["repaired"]) == (len(ACCOUNTS), len(ACCOUNTS))
        await projector.write({account: [6, None] for account in ACCOUNTS})
        await watch.until_current()


async def test_overflow_of_the_redis_output_buffer_is_repaired(
    start_gateway: StartGateway, projector: FakeProjector, redis_url: str, channel_prefix: str
) -> None:
    """F20. Redis closes the gateway's connection, and drops the buffered messages of every account."""
    gateway = await start_gateway(
        audit_interval_seconds=AUDIT_SECONDS, redis_probe_interval_seconds=AUDIT_SECONDS
    )
    async with WebSocketClient(gateway.ws) as client, redis.asyncio.from_url(redis_url) as operator:
        watch = Watch(gateway, projector, client)
        await watch.begin()
        await operator.config_set("client-output-buffer-limit", "pubsub 32768 0 0")
        deltas = [
            (
                redis_account_channel(channel_prefix, AccountId(account)),
                await projector.commit(account, [cents, None]),
            )
            for cents in range(1, 11)
            for account in ACCOUNTS
        ]
        async with operator.pipeline(transaction=True) as pipeline:
            for channel, delta in deltas:
                pipeline.publish(channel, encode_delta(delta))
            await pipeline.execute()
        assert (await operator.info("stats"))["client_output_buffer_limit_disconnections"] == 1
        await watch.until_current()
        grown = await watch.grown()
        assert (grown["closed"], grown["deaf"]) == (1, 0)
        assert 0 < grown["found"] <= len(ACCOUNTS)
        assert grown["repaired"] == grown["found"]
        await projector.write({account: [6, None] for account in ACCOUNTS})
        await watch.until_current()
