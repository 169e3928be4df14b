"""A server is the same to who uses it, whichever way it comes: embedded, or from an engine."""

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
from tests.engine import Engine
from tests.servers.topics import delete_topics

_TOPICS = Topics("kept", "kept-balances", 2)


@pytest.fixture(params=["embedded", "docker"])
def here(
    request: pytest.FixtureRequest, paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StatePaths:
    """A place of its own, whose servers come this way; the engine's images are the embedded servers."""
    for name in (*(f"LIVEBALANCE_{part.upper()}" for part in NAMES), "LIVEBALANCE_STACK"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "docker":
        Engine(paths.home, tmp_path / "volumes").install(monkeypatch)
    return StatePaths(paths.home, tmp_path / "state")


async def _write(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.postgres("owner"), timeout=10)
    await connection.execute("create role gateway login; create table kept as select 1 as one")
    await connection.execute("grant select on kept to gateway")
    await connection.close()
    await _TOPICS.create(Broker(servers.kafka))
    async with Redis.from_url(servers.redis(3)) as redis:
        await redis.set("kept", "no")


async def _read(servers: Servers) -> tuple[object, object]:
    connection = await asyncpg.connect(servers.postgres("gateway"), timeout=10)
    one = await connection.fetchval("select one from kept")
    await connection.close()
    await delete_topics(_TOPICS, Broker(servers.kafka))  # raises unless both are there
    async with Redis.from_url(servers.redis(3)) as redis:
        return one, await redis.get("kept")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(240)
def test_addresses_data_and_end(here: StatePaths) -> None:
    with Servers(here) as servers:
        addresses = servers.kafka, servers.postgres("projector"), servers.redis(5)
        forms = (
            r"127\.0\.0\.1:(\d+)",
            r"postgresql://projector@127\.0\.0\.1:(\d+)/livebalance",
            r"redis://127\.0\.0\.1:(\d+)/5",
        )
        matches = [re.fullmatch(form, address) for form, address in zip(forms, addresses, strict=True)]
        ports = {int(match[1]) for match in matches if match}
        assert len(ports) == 3, addresses
        assert ports == {one.port for one in servers.managed.values()}
        with pytest.raises(StackError, match="is in use"):
            Servers(here).start()
        asyncio.run(_write(servers))
    assert not any(map(_listens, ports))
    with Servers(here) as servers:  # durable: what was written is there, but in Redis, which keeps nothing
        assert asyncio.run(_read(servers)) == (1, None)


@pytest.mark.timeout(240)
async def test_a_cluster_on_containers_leaves_none(
    paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"LIVEBALANCE_{name.upper()}", raising=False)
    engine = Engine(paths.home, tmp_path / "volumes")
    engine.install(monkeypatch)
    plan = ClusterPlan(page=False, port=free_port(), limit=5, durable=False)
    async with Cluster(StatePaths(paths.home, tmp_path / "state"), plan) as cluster:
        kinds = {"gateway", "projector", "recorder", "feed", "balancer"}
        assert cluster.state().pids.keys() == kinds  # containers are the engine's to watch
        assert {one.status for one in engine.containers} == {"running"}
        engine.said.clear()
    assert {said for said in engine.said if said.endswith("remove")} == {
        f"{image} remove" for image in ("apache/kafka", "postgres", "redis")
    }
