"""`livebalance revoke`, with real servers."""

import json

import asyncpg
import pytest
import redis.asyncio

from livebalance.runtime.redis.cluster_slots import slot_of
from livebalance.wire.delta import redis_revocation_channel
from tests.integration.cli.command_line import run_command
from tests.servers.database import Database
from tests.servers.redis_cluster import RedisCluster


@pytest.fixture
def environment(database: Database, redis_url: str, channel_prefix: str) -> dict[str, str]:
    return {
        "LIVEBALANCE_POSTGRES": database.url("operator"),
        "LIVEBALANCE_REDIS": redis_url,
        "LIVEBALANCE_CHANNEL_PREFIX": channel_prefix,
        "TERM": "dumb",
    }


OPTIONS = ("--reason", "lost", "--json")


async def test_revoke_writes_a_row_and_notifies_gateways(
    environment: dict[str, str], database: Database, redis_url: str, channel_prefix: str
) -> None:
    async with redis.asyncio.from_url(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(redis_revocation_channel(channel_prefix))
        assert await pubsub.get_message(timeout=30)
        result = await run_command(environment, "revoke", "--subject", "me", "--account", "alice", *OPTIONS)
        assert (result.code, result.err) == (0, "")
        report = json.loads(result.out)
        assert (report["subject"], report["session"], report["account"]) == ("me", None, "alice")
        assert report["notified"]
        assert await pubsub.get_message(timeout=30)
    connection = await asyncpg.connect(database.url("owner"))
    row = await connection.fetchrow("select subject, login, account_id, by, why from revocation")
    await connection.close()
    assert row
    assert tuple(row) == ("me", None, "alice", "operator", "lost")


async def test_revoke_notifies_gateways_through_a_redis_cluster(
    environment: dict[str, str], redis_cluster: RedisCluster, channel_prefix: str
) -> None:
    channel = redis_revocation_channel(channel_prefix)
    owner = redis_cluster.owner(slot_of(channel.encode()))
    async with (
        redis.asyncio.Redis(port=owner.port, password="of-this-test") as client,
        client.pubsub() as pubsub,
    ):
        await pubsub.ssubscribe(channel)
        assert await pubsub.get_message(timeout=30)
        clustered = {**environment, "LIVEBALANCE_REDIS": redis_cluster.url}
        result = await run_command(clustered, "revoke", "--session", "s", *OPTIONS)
        assert (result.code, result.err) == (0, "")
        assert json.loads(result.out)["notified"]
        assert await pubsub.get_message(timeout=30)


async def test_revoke_without_redis_still_writes_the_row(environment: dict[str, str]) -> None:
    result = await run_command(
        {**environment, "LIVEBALANCE_REDIS": "redis://127.0.0.1:1/0"}, "revoke", "--session", "s"
    )
    assert (result.code, result.err) == (0, "")
    assert "Revoked all access for login s" in result.out
    assert "within 5 seconds" in result.out


@pytest.mark.parametrize(
    ("words", "changed", "message"),
    [
        ((), {}, "at least one of --subject"),
        (("--account", "a b"), {}, "--account must be"),
        (("--subject", "me"), {"LIVEBALANCE_POSTGRES": "postgresql://operator@127.0.0.1:1/x"}, "Postgres"),
        (
            ("--subject", "me"),
            {"LIVEBALANCE_POSTGRES": "", "LIVEBALANCE_STATE_DIRECTORY": "/nonexistent"},
            "make up",
        ),
    ],
)
async def test_failed_revoke_gives_one_error_line(
    environment: dict[str, str], words: tuple[str, ...], changed: dict[str, str], message: str
) -> None:
    result = await run_command({**environment, **changed}, "revoke", *words)
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert result.err.count("\n") == 1
