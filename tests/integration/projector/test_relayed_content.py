"""What a projector publishes has the content of its rows, and its signature."""

import asyncpg
from pydantic import SecretStr

from livebalance.gateway.live.channel import delta_frame
from livebalance.gateway.live.content import RelayedContent
from livebalance.readmodel import gateway_reads
from livebalance.wire.delta import Delta
from livebalance.wire.identity import AccountId, Position, Revision
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.signature import SigningKey
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer
from tests.integration.projector.redis_listener import redis_listener

SECRET = "the secret of this deployment, 1"
RECORDS: dict[str, list[Transfer | Balance]] = {
    "plain": history("plain", [1250, -300, 7]),
    "unverified": [*history("unverified", [5]), transfer("unverified", "t-9", 1)],
    "of-scales": [
        *history("of-scales", [5]),
        transfer("of-scales", "t-2", -1, scale=9),
        transfer("of-scales", "t-3", 5, scale=0),
    ],
    "disputed": [
        *history("disputed", [5]),
        balance("disputed", 7, "t-1", 900)._replace(client_id='a "client" ä€😀\n'),
    ],
    "without-balance": [transfer("without-balance", "t-1", 3)],
}


async def test_audit_finds_the_content_of_signed_deltas_in_the_rows(pipeline: Pipeline) -> None:
    key = SigningKey(SECRET)
    relayed: dict[str, list[Delta]] = {account: [] for account in RECORDS}
    running = pipeline.running(delta_key=SecretStr(SECRET), batch_records=2)
    async with redis_listener(pipeline.redis, pipeline.prefix, key) as listener, running:
        for account, records in RECORDS.items():
            await pipeline.write(records, partition=0)
            await listener.wait_for_revision(account, len(records))
        for account, delta in listener.deltas:
            relayed[account].append(delta)
    gateway = await asyncpg.connect(pipeline.database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    positions, digests = {}, {}
    for account, deltas in relayed.items():
        content = RelayedContent(AccountId(account), Revision(0))
        for delta in deltas:
            content.add(delta_frame(AccountId(account), delta))
        positions[AccountId(account)] = Position(deltas[-1].epoch, deltas[-1].to)
        digests[AccountId(account)] = content.begin_audit(deltas[-1].to)
    finding = await gateway_reads.read_audit(gateway, positions, digests)
    await gateway.close()
    assert (finding.revisions, finding.different) == ({}, frozenset())
