"""`livebalance revoke` as an operator types it, on real servers."""

import json

import asyncpg
import pytest
import redis.asyncio

from livebalance.runtime.redis.cluster_slots import slot_of
from livebalance.wire.delta import redis_revocation_channel
from tests.integration.cli.operator import said
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


WHY = ("--why", "lost", "--json")


async def test_it_writes_a_row_and_rings(
    environment: dict[str, str], database: Database, redis_url: str, channel_prefix: str
) -> None:
    async with redis.asyncio.from_url(redis_url) as client, client.pubsub() as bell:
        await bell.subscribe(redis_revocation_channel(channel_prefix))
        assert await bell.get_message(timeout=5)
        done = await said(environment, "revoke", "--subject", "me", "--account", "alice", *WHY)
        assert (done.code, done.err) == (0, "")
        told = json.loads(done.out)
        assert (told["subject"], told["session"], told["account"]) == ("me", None, "alice")
        assert told["rang"]
        assert await bell.get_message(timeout=5)
    sql = await asyncpg.connect(database.url("owner"))
    row = await sql.fetchrow("select subject, login, account_id, by, why from revocation")
    await sql.close()
    assert row
    assert tuple(row) == ("me", None, "alice", "operator", "lost")


async def test_it_rings_in_a_cluster(
    environment: dict[str, str], redis_cluster: RedisCluster, channel_prefix: str
) -> None:
    channel = redis_revocation_channel(channel_prefix)
    owner = redis_cluster.owner(slot_of(channel.encode()))
    async with (
        redis.asyncio.Redis(port=owner.port, password="of-this-test") as client,
        client.pubsub() as bell,
    ):
        await bell.ssubscribe(channel)
        assert await bell.get_message(timeout=5)
        told = {**environment, "LIVEBALANCE_REDIS": redis_cluster.url}
        done = await said(told, "revoke", "--session", "s", *WHY)
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out)["rang"]
        assert await bell.get_message(timeout=5)


async def test_without_redis_it_still_bites_and_says_how(environment: dict[str, str]) -> None:
    done = await said(
        {**environment, "LIVEBALANCE_REDIS": "redis://127.0.0.1:1/0"}, "revoke", "--session", "s"
    )
    assert (done.code, done.err) == (0, "")
    assert "Revoked everything for login s" in done.out
    assert "within seconds" in done.out


@pytest.mark.parametrize(
    ("words", "changed", "says"),
    [
        ((), {}, "whose rights?"),
        (("--account", "a b"), {}, "--account is"),
        (("--subject", "me"), {"LIVEBALANCE_POSTGRES": "postgresql://operator@127.0.0.1:1/x"}, "Postgres"),
        (
            ("--subject", "me"),
            {"LIVEBALANCE_POSTGRES": "", "LIVEBALANCE_STATE_DIRECTORY": "/nonexistent"},
            "make up",
        ),
    ],
)
async def test_what_fails_is_one_line(
    environment: dict[str, str], words: tuple[str, ...], changed: dict[str, str], says: str
) -> None:
    done = await said({**environment, **changed}, "revoke", *words)
    assert (done.code, done.out) == (1, "")
    assert says in done.err
    assert done.err.count("\n") == 1
