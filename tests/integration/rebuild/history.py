"""What the tests of a rebuild write and plant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.pipeline import Pipeline, balance, history, kafka_producer, transfer

ACCOUNTS = [f"acc-{number}" for number in range(6)]
BUSY = "acc-5"

# A difference of each kind: a field of an account that the report must name.
PLANTED = {
    ("acc-0", "listed"): "delete from transfer where account_id = 'acc-0' and transfer_id = 't-2'",
    ("acc-1", "balance"): """
        update balance set balance = balance + 0.01, drift = drift + 0.01 where account_id = 'acc-1'""",
    ("disputed", "disputed"): "update balance set disputed_since = null where account_id = 'disputed'",
    ("erased", "account"): """
        with given_back as (
          update balance set transfer_count = 1, posted_total = 0.07 where account_id = 'erased'
          returning revision)
        insert into transfer select 'erased', revision + 1, 't-1', 0.07, 0.07, now(), now(), 'transfers', 0, 0
          from given_back""",
    ("extra", "account"): """
        insert into balance
        select (jsonb_populate_record(b, '{"account_id": "extra"}')).* from balance b
         where account_id = 'acc-2'""",
}
PLANTED_QUARANTINE = "delete from quarantine"


async def write_history(pipeline: Pipeline) -> None:
    """Writes accounts, of which one is disputed and one erased, and a transfer that cannot be decoded."""
    records: list[Transfer | Balance] = [
        record for account in ACCOUNTS for record in history(account, [100, -30, 5])
    ]
    await pipeline.write([*records, *history("erased", [7, 8]), *history("disputed", [1, 2])])
    await pipeline.write([balance("disputed", 2, "t-2", 999)])
    await pipeline.write_raw(pipeline.topics.balances, b"erased", None)
    await pipeline.write_raw(pipeline.topics.transfers, b"acc-0", b"junk")
    await pipeline.wait_for("select sum(transfers_next)::int from lane", 3 * len(ACCOUNTS) + 2 + 2 + 1)
    await pipeline.wait_for("select sum(balances_next)::int from lane", 4 * len(ACCOUNTS) + 3 + 3 + 2)
    await pipeline.wait_for("select count(*)::int from balance where erased_revision > deleted_revision", 0)


async def plant(pipeline: Pipeline) -> None:
    """Plants all differences."""
    for statement in (*PLANTED.values(), PLANTED_QUARANTINE):
        await pipeline.query(statement)


async def content(pipeline: Pipeline) -> object:
    """Returns everything in the projection but what its owners write without a record."""
    tables = ("balance", "transfer", "quarantine", "projection", "intervention")
    lanes = await pipeline.query("select lane, transfers_next, balances_next, epoch from lane order by lane")
    return [lanes, *[await pipeline.query(f"select t::text from {table} t order by 1") for table in tables]]


@asynccontextmanager
async def traffic(pipeline: Pipeline) -> AsyncIterator[None]:
    """Writes a cent and the balance after it, twenty times per second, while the block runs."""
    stopping = asyncio.Event()

    async def write() -> None:
        async with kafka_producer(pipeline.kafka) as producer:
            version = 3
            while not stopping.is_set():
                version += 1
                for record in (
                    transfer(BUSY, f"t-{version}", 1),
                    balance(BUSY, version, f"t-{version}", 75 + version - 3),
                ):
                    topic, value = pipeline._encoded(record)
                    await producer.send_and_wait(topic, value, record.account.encode())
                await asyncio.sleep(0.05)

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        stopping.set()
        await writing
