"""The users of `deploy/redis.acl`: each may do what its service needs, and nothing else."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator

import hiredis
import pytest

from livebalance.gateway.redis.node_subscriber import NodeSubscriber
from livebalance.runtime.redis.commands import execute
from livebalance.runtime.redis.url import RedisUrl
from livebalance.stack.paths import PROJECT, StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.servers.redis import SETTINGS, options, server_binary
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.database import Database

PREFIX = "livebalance:"
ACCOUNT, LANE, PROBE, REVOKED = (f"{PREFIX}{name}" for name in ("account:a", "lane:0", "probe:g", "revoked"))
BINARIES = {
    "valkey": str(server_binary()),
    "redis": shutil.which("redis-server"),
}
DENIED = [
    *(("get", "k"), ("set", "k", "v"), ("keys", "*"), ("flushall",), ("eval", "return 1", "0")),
    *(
        ("config", "get", "*"),
        ("acl", "list"),
        ("client", "list"),
        ("pubsub", "channels"),
        ("psubscribe", "*"),
    ),
    *(("shutdown",), ("replicaof", "no", "one"), ("monitor",), ("cluster", "nodes"), ("punsubscribe",)),
]


@pytest.fixture(params=BINARIES, scope="module")
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server with the users, of each kind that this machine has."""
    tmp_path = tmp_path_factory.mktemp("redis")
    binary = BINARIES[request.param]
    if binary is None:
        pytest.skip(f"this machine has no {request.param}-server")
    settings = {"port": str(free_port()), "aclfile": str(PROJECT / "deploy/redis.acl"), **SETTINGS}
    log = StatePaths(tmp_path, tmp_path).log("redis")
    child = ChildProcess("redis", [binary, *options(settings)], log, bare_environment(), directory=tmp_path)
    child.start()
    try:
        child.wait_for("Ready to accept connections", 30)
        yield int(settings["port"])
    finally:
        child.stop(5)


def url(user: str, port: int) -> str:
    return f"redis://{user}:any@127.0.0.1:{port}/0"


@pytest.fixture
def redis_url(port: int) -> str:
    return url("gateway", port)


@pytest.fixture
def channel_prefix() -> str:
    return PREFIX


@pytest.fixture
async def projector(database: Database, port: int) -> AsyncIterator[FakeProjector]:
    async with FakeProjector(database.url("projector"), url("projector", port), PREFIX) as projector:
        yield projector


async def may(port: int, user: str | None, *command: str) -> bool:
    redis = RedisUrl.parse(url(user, port) if user else f"redis://127.0.0.1:{port}")
    try:
        await execute(redis, redis.nodes[0], *command)
    except hiredis.ReplyError as error:
        return not str(error).startswith("NOPERM")
    return True


async def test_each_user_publishes_only_to_its_own_channels(port: int) -> None:
    allowed = {"projector": {ACCOUNT, LANE}, "gateway": {PROBE}, "operator": {REVOKED}, None: set[str]()}
    for user, channels in allowed.items():
        for channel in (ACCOUNT, LANE, PROBE, REVOKED, "other"):
            for command in ("publish", "spublish"):
                assert await may(port, user, command, channel, "x") is (channel in channels), (user, channel)


async def test_only_gateways_subscribe(port: int) -> None:
    for user in ("projector", "gateway", "operator", None):
        for command in ("subscribe", "ssubscribe"):
            for channel in (ACCOUNT, LANE, PROBE, REVOKED, "other"):
                expected = user == "gateway" and channel != "other"
                assert await may(port, user, command, channel) is expected, (user, channel)


@pytest.mark.parametrize("user", ["projector", "gateway", "operator", None])
async def test_no_user_has_another_command(port: int, user: str | None) -> None:
    assert [command for command in DENIED if await may(port, user, *command)] == []


async def test_gateway_and_projector_work_with_their_users(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that is denied does not come back."""
    probed, on_probe = asyncio.Event(), NodeSubscriber.on_probe

    def set_probed(subscriber: NodeSubscriber, channel: bytes, message: bytes) -> None:
        on_probe(subscriber, channel, message)
        if subscriber._missed_probes == 0:
            probed.set()

    monkeypatch.setattr(NodeSubscriber, "on_probe", set_probed)
    monkeypatch.setattr("livebalance.gateway.redis.node_subscriber.MAX_MISSED_PROBES", 1000)
    gateway = await start_gateway(audit_interval_seconds=3600.0, redis_probe_interval_seconds=0.1)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        for revision in (3, 5, 7):
            await projector.transfer("alice", 100)
            assert_shows(await client.until_at("alice", revision), projector.account("alice"))
            probed.clear()
            async with asyncio.timeout(30):
                await probed.wait()
        assert len(client.of_type("delta")) == 3
