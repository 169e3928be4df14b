"""Redis that keeps its connections and delivers nothing, or drops what it cannot deliver: only we can tell.

Audits are too rare here to heal anything: what heals is the one that follows a new connection.
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

RARE = 60.0  # seconds
ACCOUNTS = [f"a-{number}" for number in range(20)]


@pytest.fixture
def redis_url(own_redis: Servers) -> str:
    return own_redis.redis()


@pytest.fixture
async def projector(projector: FakeProjector) -> FakeProjector:
    """What is there is of now, so that the pipeline is live without another audit."""
    projector.as_of = Millis(time.time_ns() // 1_000_000)
    await projector.advance()
    return projector


def words(client: WebSocketClient) -> list[str]:
    return [frame["state"] for frame in client.of_type("status")]


class Watch:
    """All accounts on one screen, and the counters as they were then."""

    def __init__(self, gateway: RunningGateway, projector: FakeProjector, client: WebSocketClient) -> None:
        self._gateway, self._projector, self._client = gateway, projector, client
        self._before: dict[str, float] = {}

    async def begin(self) -> None:
        await self._projector.open(*ACCOUNTS)
        await self._client.subscribe(*ACCOUNTS)
        await self._client.until(lambda: len(self._client.shown) == len(ACCOUNTS))
        await self._client.until(lambda: words(self._client)[-1:] == ["live"])
        self._before = await self._counters()

    async def _counters(self) -> dict[str, float]:
        counted = self._gateway.counter
        lost = {why: await counted("redis_disconnects", reason=why) for why in ("deaf", "closed", "timeout")}
        found = await counted("audit_findings", reason="ahead")
        return {**lost, "found": found, "repaired": await counted("gap_repairs", reason="audit")}

    async def grown(self) -> dict[str, float]:
        return {name: count - self._before[name] for name, count in (await self._counters()).items()}

    async def move_unheard(self) -> None:
        """In SQL alone: whatever is told of it is lost."""
        self._projector.silent = True
        await self._projector.write({account: [5, None] for account in ACCOUNTS})
        self._projector.silent = False

    async def until_current(self, within: float) -> None:
        for account in ACCOUNTS:
            page = self._projector.account(account)
            assert_shows(await self._client.until_at(account, page.revision, within), page)
        await self._client.until(lambda: words(self._client)[-1] == "live", within)


@pytest.mark.parametrize("others_too", [False, True])
async def test_a_connection_that_delivers_nothing(
    start_gateway: StartGateway, projector: FakeProjector, redis_url: str, others_too: bool
) -> None:
    """F17. It is open and takes all it is given; so may be those that are made instead, for a while."""
    async with faulty_proxy(redis_url) as (wire, url):
        gateway = await start_gateway(
            redis=url, audit_interval_seconds=RARE, redis_probe_interval_seconds=0.5
        )
        async with WebSocketClient(gateway.ws) as client:
            watch = Watch(gateway, projector, client)
            await watch.begin()
            made = wire.connections
            wire.drops_new = others_too
            wire.drop_all()
            await watch.move_unheard()
            await client.until(lambda: words(client)[-1] == "stalled")
            assert client.of_type("status")[-1]["reason"] == "live updates are away"
            assert (await watch.grown())["deaf"] == 1
            wire.drops_new = False
            await watch.until_current(within=15)
            assert wire.connections > made
            grown = await watch.grown()
            assert (grown["found"], grown["repaired"]) == (len(ACCOUNTS), len(ACCOUNTS))
            await projector.write({account: [6, None] for account in ACCOUNTS})
            await watch.until_current(within=5)
            assert (await watch.grown())["repaired"] == len(ACCOUNTS)  # that came by itself


async def test_a_redis_that_stands_still(
    start_gateway: StartGateway, projector: FakeProjector, own_redis: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F19. The kernel takes connections for it, so each try to have another takes its whole time."""
    monkeypatch.setattr("livebalance.gateway.redis.node_subscriber.CONNECT_TIMEOUT", 0.5)
    gateway = await start_gateway(audit_interval_seconds=RARE, redis_probe_interval_seconds=0.5)
    child = own_redis.own["redis"].child
    async with WebSocketClient(gateway.ws) as client:
        watch = Watch(gateway, projector, client)
        await watch.begin()
        child.send(signal.SIGSTOP)
        try:
            await watch.move_unheard()
            await client.until(lambda: words(client)[-1] == "stalled")
            async with asyncio.timeout(10):
                while (await watch.grown())["timeout"] < 3:
                    pass
            await watch.move_unheard()
        finally:
            child.send(signal.SIGCONT)
        await watch.until_current(within=5)
        grown = await watch.grown()
        assert grown["deaf"] == 1
        assert (grown["found"], grown["repaired"]) == (len(ACCOUNTS), len(ACCOUNTS))
        await projector.write({account: [6, None] for account in ACCOUNTS})
        await watch.until_current(within=5)


async def test_a_buffer_that_overflows(
    start_gateway: StartGateway, projector: FakeProjector, redis_url: str, channel_prefix: str
) -> None:
    """F20. Redis drops who listens, and with it all that waited in the buffer, of every account."""
    gateway = await start_gateway(audit_interval_seconds=RARE, redis_probe_interval_seconds=RARE)
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
        async with operator.pipeline(transaction=True) as at_once:
            for channel, delta in deltas:
                at_once.publish(channel, encode_delta(delta))
            await at_once.execute()
        assert (await operator.info("stats"))["client_output_buffer_limit_disconnections"] == 1
        await watch.until_current(within=10)
        grown = await watch.grown()
        assert (grown["closed"], grown["deaf"]) == (1, 0)
        assert 0 < grown["found"] <= len(ACCOUNTS)
        assert grown["repaired"] == grown["found"]
        await projector.write({account: [6, None] for account in ACCOUNTS})
        await watch.until_current(within=5)
