"""Records that go on from what a database holds, as the feed and a recorder would."""

from collections.abc import Sequence

import asyncpg
from aiokafka.partitioner import DefaultPartitioner

from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from tests.bench.reporting import FILL
from tests.integration.projector.pipeline import balance, transfer
from tests.servers.database import Database

PARTITIONS = 4  # as FILL has lanes


class Accounts:
    """Goes on from what is in the database: of each account in turn, a transfer and the balance after it."""

    def __init__(self, rows: Sequence[asyncpg.Record]) -> None:
        self._at = [(str(row[0]), int(row[1]), _cents(row[2])) for row in rows]
        self._next = 0

    def more(self, records: int) -> list[Transfer | Balance]:
        found: list[Transfer | Balance] = []
        while len(found) < records:
            place = self._next % len(self._at)
            account, version, total = self._at[place]
            amount = (self._next * 7919) % 2001 - 1000
            self._next += 1
            version, total = version + 1, total + amount
            self._at[place] = account, version, total
            found.append(transfer(account, f"b-{version}", amount))
            found.append(balance(account, version, f"b-{version}", total))
        return found


def _cents(amount: Money) -> int:
    return amount.at_scale(2).unscaled


async def fill(database: Database, transfers: int, accounts: int) -> None:
    """As a projector would have left it that reads both topics from their beginning."""
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
