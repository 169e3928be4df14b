"""A projector numbers the batches of a lane in SQL, and publishes each with the accounts that it changed."""

import asyncpg

from livebalance.readmodel import gateway_reads
from livebalance.readmodel.sets.reads import read_set
from livebalance.wire.identity import SetName
from livebalance.wire.views import MemberView
from tests.integration.projector.pipeline import Pipeline, balance, history, wait_until
from tests.integration.projector.redis_listener import RedisListener, redis_listener

ACCOUNTS = ["EU-1", "EU-2", "US-1"]


def members_of(listener: RedisListener) -> dict[str, MemberView]:
    """Returns the accounts after all batches that were published."""
    members: dict[str, MemberView] = {}
    for batch in listener.batches:
        for account in batch.accounts:
            if account.view:
                members[account.account] = account.view
            else:
                members.pop(account.account, None)
    return members


async def until_published(listener: RedisListener, account: str, revision: int) -> None:
    changed = (account, revision)
    await wait_until(
        lambda: any(changed == (a.account, a.revision) for batch in listener.batches for a in batch.accounts),
        60.0,
    )


async def test_published_batches_make_the_members_that_a_set_has_in_sql(pipeline: Pipeline) -> None:
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener:
        for owner in ("projector-1", "projector-2"):  # a claim does not skip a number
            first = 1 if owner == "projector-1" else 4
            async with pipeline.running(owner, batch_records=2, catch_up_threshold_seconds=600.0):
                for lane, account in enumerate(ACCOUNTS):
                    await pipeline.write(history(account, [1250, -300, 7], first), partition=lane % 2)
                for account in ACCOUNTS:
                    await until_published(listener, account, 7 if first == 1 else 13)
                if first == 4:
                    moved = balance("US-1", 99, "t-6", 1914)._replace(client_id="other")
                    await pipeline.write([moved], partition=0)
                    await until_published(listener, "US-1", 14)
    for lane in {batch.lane for batch in listener.batches}:
        numbers = [batch.number for batch in listener.batches if batch.lane == lane]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert {a.former_client for batch in listener.batches for a in batch.accounts} == {None, "client"}
    gateway = await asyncpg.connect(pipeline.database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    try:
        stored = await read_set(gateway, SetName("prefix", ""), 9)
        of_client = await read_set(gateway, SetName("client", "other"), 9)
    finally:
        await gateway.close()
    newest = {batch.lane: batch.number for batch in listener.batches}
    assert {lane: stored.lanes[lane] for lane in newest} == newest
    assert {account: member.view for account, member in stored.members.items()} == members_of(listener)
    assert list(of_client.members) == ["US-1"]
