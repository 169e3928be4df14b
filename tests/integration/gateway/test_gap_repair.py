"""Redis loses, repeats and reorders messages, restarts or hangs. Clients are correct again within seconds."""

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from livebalance.gateway import relay
from livebalance.gateway.redis.resp3 import Resp3Connection
from livebalance.stack.servers.servers import Servers
from livebalance.wire.delta import DeltaParts, encode_delta, make_delta
from livebalance.wire.identity import AccountId, Lane, Revision
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient


async def test_lost_last_deltas_are_repaired_by_the_audit(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.3)
    await projector.open("alice", "bob")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", "bob")
        await client.until(lambda: len(client.shown) == 2)
        projector.silent = True
        await projector.transfer("alice", 1, 2, 3)
        assert_shows(await client.until_at("alice", 7), projector.account("alice"))
        assert len(client.of_type("delta")) == 1


async def test_gap_is_repaired_before_an_audit(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        projector.silent = True
        await projector.transfer("alice", 1)
        projector.silent = False
        await projector.transfer("alice", 2)
        assert_shows(await client.until_at("alice", 5), projector.account("alice"))


async def test_delta_with_header_only_is_read_from_postgres(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        projector.silent = True
        await projector.transfer("alice", 1, 2)
        header = DeltaParts(projector.epoch, Revision(1), Revision(5), projector.as_of, b"", b"")
        await projector.publish("alice", make_delta(AccountId("alice"), Lane(0), header))
        assert_shows(await client.until_at("alice", 5), projector.account("alice"))


async def test_repeated_reordered_and_forged_messages_change_nothing(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    expected = projector.account("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        projector.silent = True
        deltas = [await projector.commit("alice", [number, None]) for number in range(4)]
        for number in (0, 0, 2, 1, 0, 3, 2):
            await projector.publish("alice", deltas[number])
        for forged in (
            b"",
            b"\x01",
            b"{}",
            encode_delta(deltas[0])[:-1],
            b"\x01" + encode_delta(deltas[0])[1:],
        ):
            await projector.publish_raw("alice", forged)
        assert_shows(await client.until_at("alice", expected.revision), expected)
        projector.silent = False
        await projector.transfer("alice", 9)
        assert_shows(await client.until_at("alice", expected.revision), expected)


@pytest.fixture
def redis_url(own_redis: Servers) -> str:
    """A Redis that each test here may stop."""
    return own_redis.redis()


async def test_killed_redis_that_restarts_is_subscribed_again(
    start_gateway: StartGateway, projector: FakeProjector, own_redis: Servers
) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.5)
    accounts = [f"a-{number}" for number in range(30)]
    await projector.open(*accounts)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe(*accounts)
        await client.until(lambda: len(client.shown) == 30)
        child = own_redis.embedded["redis"].child
        child.kill()
        await client.until(lambda: client.of_type("status")[-1]["state"] == "stalled")
        projector.silent = True
        await projector.write({account: [5, None] for account in accounts})
        child.start()
        child.wait_for("Ready to accept connections", 30)
        await client.until(lambda: client.of_type("status")[-1]["state"] == "live")
        projector.silent = False
        await projector.write({account: [6, None] for account in accounts})
        for account in accounts:
            assert_shows(await client.until_at(account, 5), projector.account(account))


async def test_hanging_redis_is_noticed(
    start_gateway: StartGateway, projector: FakeProjector, own_redis: Servers
) -> None:
    """A stopped Redis neither answers nor closes its connections: only the probe notices."""
    gateway = await start_gateway(audit_interval_seconds=0.5, redis_probe_interval_seconds=0.3)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        child = own_redis.embedded["redis"].child
        child.send(signal.SIGSTOP)
        try:
            await client.until(lambda: client.of_type("status")[-1]["state"] == "stalled")
            projector.silent = True
            await projector.transfer("alice", 1)
            await client.until_at("alice", 3)  # through the audit
        finally:
            child.send(signal.SIGCONT)
        await client.until(lambda: client.of_type("status")[-1]["state"] == "live")
        projector.silent = False
        await projector.transfer("alice", 2)
        assert_shows(await client.until_at("alice", 5), projector.account("alice"))


async def test_closed_redis_connection_is_made_again(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        projector.silent = True
        await projector.transfer("alice", 1)  # lost before the connection is, so that no audit is too early
        await projector.kill_subscribers()
        assert_shows(await client.until_at("alice", 3), projector.account("alice"))
        projector.silent = False
        await projector.transfer("alice", 2)
        assert_shows(await client.until_at("alice", 5), projector.account("alice"))


async def test_subscribe_without_redis_gets_unavailable(
    start_gateway: StartGateway, projector: FakeProjector, own_redis: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.live.hub.ACK_TIMEOUT", 0.5)
    gateway = await start_gateway()
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        own_redis.embedded["redis"].child.kill()
        await asyncio.sleep(0)
        await client.subscribe("alice")
        await client.until(lambda: client.of_type("error"))
        assert client.of_type("error")[0]["code"] == "unavailable"


async def test_bug_in_the_hub_ends_the_process(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor starts a new process, with a correct state."""
    gateway = await start_gateway()
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        monkeypatch.setattr("livebalance.gateway.live.hub.Hub.on_delta", lambda *_: 1 / 0)
        await projector.transfer("alice", 1)
        error = await gateway.failure()
        assert isinstance(error, ExceptionGroup)
        assert error.subgroup(ZeroDivisionError)


async def test_deltas_that_arrive_while_the_gateway_reads_nothing_reach_every_client(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delta for many clients makes the gateway pause, so that they are sent the next ones together."""
    pause, pauses = Resp3Connection.pause, list[float]()

    def noting_pause(self: Resp3Connection, seconds: float) -> None:
        pauses.append(seconds)
        pause(self, seconds)

    monkeypatch.setattr(relay, "MANY_CLIENTS", 3)
    monkeypatch.setattr(Resp3Connection, "pause", noting_pause)
    gateway = await start_gateway(audit_interval_seconds=3600.0)
    await projector.open("alice")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(WebSocketClient(gateway.ws)) for _ in range(3)]
        for client in clients:
            await client.subscribe("alice")
            await client.until_at("alice", 1)
        for amount in range(20):
            await projector.transfer("alice", amount)
        for client in clients:
            assert_shows(await client.until_at("alice", 41), projector.account("alice"))
            assert len(client.of_type("delta")) == 20
    assert pauses
    assert max(pauses) <= relay.MAX_PAUSE_SECONDS
