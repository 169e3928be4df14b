"""Takes rights back: a row that every gateway reads, and a ring so that it reads it now."""

import asyncio
from typing import NamedTuple

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.projection.database import WITHIN, operator_connection
from livebalance.readmodel.revocations import Revocation
from livebalance.readmodel.revocations import revoke as write
from livebalance.runtime.redis.commands import AWAY, ask, read_slots
from livebalance.runtime.redis.url import RedisUrl
from livebalance.wire.delta import redis_revoked
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, account_id


class RevokeResult(NamedTuple):
    """`rang`: gateways were told; without it they see it by themselves within seconds."""

    revocation: Revocation
    rang: bool


async def revoke(subject: str | None, session: str | None, account: str | None, why: str) -> RevokeResult:
    """Raises UserError."""
    if not (subject or session or account):
        raise UserError("whose rights? name --subject, --session, --account, or several of them")
    revocation = await _write(subject, session, _account(account), why)
    return RevokeResult(revocation, await _ring())


def _account(text: str | None) -> AccountId | None:
    try:
        return None if text is None else account_id(text)
    except DecodeError:
        raise UserError("--account is 1 to 64 of A-Z a-z 0-9 . _ -") from None


async def _write(subject: str | None, session: str | None, account: AccountId | None, why: str) -> Revocation:
    async with operator_connection("nothing was revoked") as connection:
        return await write(connection, subject, session, account, why)


async def _ring() -> bool:
    url = addresses.redis()
    if url is None:
        return False
    channel = redis_revoked(addresses.channel_prefix())
    try:
        async with asyncio.timeout(WITHIN):
            await _publish(RedisUrl.of(url), channel)
    except AWAY:
        return False
    return True


async def _publish(redis: RedisUrl, channel: str) -> None:
    node = redis.nodes[0]
    if redis.clustered:
        slots = await read_slots(redis, redis.nodes)
        node = slots.owner(channel.encode()) or node
    await ask(redis, node, "SPUBLISH" if redis.clustered else "PUBLISH", channel, "")
