"""Embedded servers and servers in containers behave in the same way."""

import asyncio
import re
import socket
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.cluster import Cluster
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from livebalance.stack.servers.servers import NAMES, Servers
from livebalance.stack.servers.topics import Topics
from tests.servers.fake_docker import FakeEngine
from tests.servers.topics import delete_topics

_TOPICS = Topics("kept", "kept-balances", 2)


@pytest.fixture(params=["embedded", "docker"])
def mode_paths(
    request: pytest.FixtureRequest, paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StatePaths:
    """The paths for servers in this mode. The fake engine runs the embedded servers."""
    for name in (*(f"LIVEBALANCE_{part.upper()}" for part in NAMES), "LIVEBALANCE_STACK"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "docker":
        FakeEngine(paths.home, tmp_path / "volumes").install(monkeypatch)
    return StatePaths(paths.home, tmp_path / "state")


async def _write(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.postgres("owner"), timeout=30)
    await connection.execute("create role gateway login; create table kept as select 1 as one")
    await connection.execute("grant select on kept to gateway")
    await connection.close()
    await _TOPICS.create(Broker(servers.kafka))
    async with Redis.from_url(servers.redis(3)) as redis:
        await redis.set("kept", "no")


async def _read(servers: Servers) -> tuple[object, object]:
    connection = await asyncpg.connect(servers.postgres("gateway"), timeout=30)
    value = await connection.fetchval("select one from kept")
    await connection.close()
    await delete_topics(_TOPICS, Broker(servers.kafka))  # raises if a topic is missing
    async with Redis.from_url(servers.redis(3)) as redis:
        return value, await redis.get("kept")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(240)
def test_servers_keep_durable_data_and_stop(mode_paths: StatePaths) -> None:
    with Servers(mode_paths) as servers:
        addresses = servers.kafka, servers.postgres("projector"), servers.redis(5)
        patterns = (
            r"127\.0\.0\.1:(\d+)",
            r"postgresql://projector@127\.0\.0\.1:(\d+)/livebalance",
            r"redis://127\.0\.0\.1:(\d+)/5",
        )
        matches = [
            re.fullmatch(pattern, address) for pattern, address in zip(patterns, addresses, strict=True)
        ]
        ports = {int(match[1]) for match in matches if match}
        assert len(ports) == 3, addresses
        assert ports == {server.port for server in servers.managed.values()}
        with pytest.raises(StackError, match="is in use"):
            Servers(mode_paths).start()
        asyncio.run(_write(servers))
    assert not any(map(_listens, ports))
    with Servers(mode_paths) as servers:  # Redis stores nothing
        assert asyncio.run(_read(servers)) == (1, None)


@pytest.mark.timeout(240)
async def test_cluster_removes_its_containers(
    paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"LIVEBALANCE_{name.upper()}", raising=False)
    engine = FakeEngine(paths.home, tmp_path / "volumes")
    engine.install(monkeypatch)
    plan = ClusterPlan(page=False, port=free_port(), limit=5, durable=False)
    async with Cluster(StatePaths(paths.home, tmp_path / "state"), plan) as cluster:
        kinds = {"gateway", "projector", "recorder", "feed", "balancer"}
        assert cluster.state().pids.keys() == kinds  # the engine supervises containers
        assert {container.status for container in engine.containers} == {"running"}
        engine.calls.clear()
    assert {call for call in engine.calls if call.endswith("remove")} == {
        f"{image} remove" for image in ("apache/kafka", "postgres", "redis")
    }
