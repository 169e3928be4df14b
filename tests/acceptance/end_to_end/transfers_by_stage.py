"""What there is of every account in each place that a transfer passes: fed, in Kafka, in SQL."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg
from aiokafka import ConsumerRecord, TopicPartition

from livebalance.generator.transfers import AccountPicker, transfer_pair
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import read_range
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.avro import decode_transfer
from livebalance.wire.money import parse_money

Movement = tuple[str, str]  # transfer id, amount


class Row(NamedTuple):
    """A transfer as SQL and as a client's log has it."""

    revision: int
    id: str
    amount: str
    total: str


class Standing(NamedTuple):
    """An account's row."""

    account: str
    revision: int
    listed: int  # transfers
    version: int | None
    balance: str | None
    opening: str | None
    posted: str
    half_applied: str | None
    drift: str | None


class Run(NamedTuple):
    """One run of the feed, as it said at its end that it was acknowledged."""

    name: str
    seed: int
    transfers: int
    accounts: int

    def movements(self) -> dict[str, list[Movement]]:
        """By account, in the order they were sent."""
        fed: dict[str, list[Movement]] = defaultdict(list)
        crowd = AccountPicker(self.accounts)
        for n in range(self.transfers):
            for record in transfer_pair(self.seed, n, crowd, self.name, 0):
                fed[record.account].append((record.id, str(record.amount)))
        return dict(fed)


class Log:
    """The transfers topic, read on from where it was read before: committed records only."""

    def __init__(self, kafka: str, topics: Topics) -> None:
        self._kafka, self._topics = kafka, topics
        self._next = [0] * topics.partitions
        self._writers = FileRegistry().writer_schema

    async def new(self) -> dict[str, list[Movement]]:
        """What came since the last call, by account, in the order of the topic."""
        found: dict[str, list[Movement]] = defaultdict(list)

        def take(record: ConsumerRecord) -> None:
            transfer = decode_transfer(record.value or b"", self._writers)
            found[transfer.account].append((transfer.id, str(transfer.amount)))

        for number, start in enumerate(self._next):
            at = TopicPartition(self._topics.transfers, number)
            self._next[number] = await read_range(Broker(self._kafka), at, take, start)
        return dict(found)


_NEW = """
select t.account_id, t.revision, t.transfer_id, t.amount::text, t.total::text
from transfer t left join unnest($1::text[], $2::int8[]) as known (account_id, revision) using (account_id)
where t.revision > coalesce(known.revision, 0) order by 1, 2
"""


async def in_sql(connection: asyncpg.Connection, after: Mapping[str, int]) -> dict[str, list[Row]]:
    """The rows of `transfer` after these revisions, by account, in the account's order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for account, *row in await connection.fetch(_NEW, list(after), list(after.values())):
        found[account].append(Row(*row))
    return dict(found)


async def standings(connection: asyncpg.Connection) -> list[Standing]:
    """Every row of `balance`."""
    rows = await connection.fetch(
        "select account_id, revision, transfer_count, version, balance::text, opening::text,"
        " posted_total::text, half_applied::text, drift::text from balance order by 1"
    )
    return [Standing(*row) for row in rows]


def totalled(movements: Sequence[Movement], total: str) -> list[tuple[str, str, str]]:
    """With the running sum in their order, from `total` on."""
    sum_, rows = parse_money(total), []
    for id_, amount in movements:
        sum_ = sum_.add(parse_money(amount))
        rows.append((id_, amount, str(sum_)))
    return rows


def first_difference(left: Sequence[object], right: Sequence[object]) -> str:
    """Where two lists part, in words short enough to read."""
    for n, (one, two) in enumerate(zip(left, right, strict=False)):
        if one != two:
            return f"at {n}: {one} and {two}"
    return (
        f"{len(left)} and {len(right)} long; first beyond: {[*left[len(right) :], *right[len(left) :]][:1]}"
    )
