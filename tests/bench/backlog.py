"""A filled database, and records that continue it as the feed and a recorder would."""

from collections.abc import Sequence

import asyncpg
from aiokafka.partitioner import DefaultPartitioner

from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from tests.bench.reporting import FILL
from tests.integration.projector.pipeline import balance, transfer
from tests.servers.database import Database

PARTITIONS = 4  # the number of lanes in FILL


class RecordGenerator:
    """Generates records for the accounts of a database: in turn a transfer of each, and its balance after it.

    `rows` has account, version and posted total of each account.
    """

    def __init__(self, rows: Sequence[asyncpg.Record]) -> None:
        self._accounts = [(str(row[0]), int(row[1]), _cents(row[2])) for row in rows]
        self._count = 0

    def next_records(self, count: int) -> list[Transfer | Balance]:
        records: list[Transfer | Balance] = []
        while len(records) < count:
            index = self._count % len(self._accounts)
            account, version, total = self._accounts[index]
            amount = (self._count * 7919) % 2001 - 1000
            self._count += 1
            version, total = version + 1, total + amount
            self._accounts[index] = account, version, total
            records.append(transfer(account, f"b-{version}", amount))
            records.append(balance(account, version, f"b-{version}", total))
        return records


def _cents(amount: Money) -> int:
    return amount.at_scale(2).unscaled


async def fill(database: Database, transfers: int, accounts: int) -> None:
    """Fills a database, with each account in the lane of its partition, and all offsets at 0."""
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL.replace("$transfers", str(transfers)).replace("$accounts", str(accounts)))
    await owner.execute(
        "update lane set transfers_next = 0, balances_next = 0, last_event_at = null, as_of = null"
    )
    names = [row[0] for row in await owner.fetch("select account_id from balance")]
    partitioner, numbers = DefaultPartitioner(), list(range(PARTITIONS))
    lanes = [partitioner(name.encode(), numbers, numbers) for name in names]
    await owner.execute(
        "update balance b set lane = x.lane from unnest($1::text[], $2::int[]) as x (account_id, lane)"
        " where b.account_id = x.account_id",
        names,
        lanes,
    )
    await owner.execute("vacuum analyze")
    await owner.close()
