"""Takes rights back: a row that every gateway reads, and a ring so that it reads it now."""

import asyncio
from typing import NamedTuple

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from livebalance.cli import place
from livebalance.cli.database import WITHIN, operating
from livebalance.readmodel.revocations import Revocation
from livebalance.readmodel.revocations import revoke as write
from livebalance.runtime.redis import Redis as Where
from livebalance.stack.trouble import Trouble
from livebalance.wire.delta import redis_revoked
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, account_id


class Revoked(NamedTuple):
    """`rang`: gateways were told; without it they see it by themselves within seconds."""

    revocation: Revocation
    rang: bool


async def revoke(subject: str | None, session: str | None, account: str | None, why: str) -> Revoked:
    """Raises Trouble."""
    if not (subject or session or account):
        raise Trouble("whose rights? name --subject, --session, --account, or several of them")
    revocation = await _write(subject, session, _account(account), why)
    return Revoked(revocation, await _ring())


def _account(text: str | None) -> AccountId | None:
    try:
        return None if text is None else account_id(text)
    except DecodeError:
        raise Trouble("--account is 1 to 64 of A-Z a-z 0-9 . _ -") from None


async def _write(subject: str | None, session: str | None, account: AccountId | None, why: str) -> Revocation:
    async with operating("nothing was revoked") as connection:
        return await write(connection, subject, session, account, why)


async def _ring() -> bool:
    url = place.redis()
    if url is None:
        return False
    channel = redis_revoked(place.channel_prefix())
    try:
        async with asyncio.timeout(WITHIN):
            await (_publish_in_cluster if Where.of(url).clustered else _publish)(url, channel)
    except (OSError, TimeoutError, RedisError):
        return False
    return True


async def _publish(url: str, channel: str) -> None:
    async with redis.asyncio.from_url(url) as client:
        await client.publish(channel, "")


async def _publish_in_cluster(url: str, channel: str) -> None:
    where = Where.of(url)
    nodes = [ClusterNode(*node) for node in where.nodes]
    user, password = where.login or (None, None)
    async with RedisCluster(startup_nodes=nodes, username=user, password=password, ssl=where.tls) as client:
        await client.execute_command("SPUBLISH", channel, "")
