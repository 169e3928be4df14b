"""Reads the transfers of every account at each stage: produced by the feed, in Kafka, in Postgres."""

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

Posting = tuple[str, str]  # transfer id, amount


class TransferRow(NamedTuple):
    """A transfer as Postgres and a client's log have it."""

    revision: int
    id: str
    amount: str
    total: str


class AccountRow(NamedTuple):
    """A row of `balance`."""

    account: str
    revision: int
    transfer_count: int
    version: int | None
    balance: str | None
    opening: str | None
    posted_total: str
    half_applied: str | None
    drift: str | None


class FeedRun(NamedTuple):
    """What a feed reported at its end: the transfers that Kafka acknowledged."""

    name: str
    seed: int
    transfers: int
    accounts: int

    def postings(self) -> dict[str, list[Posting]]:
        """Returns the run's postings by account, in the order of production."""
        produced: dict[str, list[Posting]] = defaultdict(list)
        picker = AccountPicker(self.accounts)
        for n in range(self.transfers):
            for record in transfer_pair(self.seed, n, picker, self.name, 0):
                produced[record.account].append((record.id, str(record.amount)))
        return dict(produced)


class TransfersTopic:
    """Reads the committed records of the transfers topic, each once."""

    def __init__(self, kafka: str, topics: Topics) -> None:
        self._kafka, self._topics = kafka, topics
        self._next_offsets = [0] * topics.partitions
        self._writer_schemas = FileRegistry().writer_schema

    async def read_new(self) -> dict[str, list[Posting]]:
        """Returns the postings since the last call by account, in the order of the topic."""
        postings: dict[str, list[Posting]] = defaultdict(list)

        def add(record: ConsumerRecord) -> None:
            transfer = decode_transfer(record.value or b"", self._writer_schemas)
            postings[transfer.account].append((transfer.id, str(transfer.amount)))

        for number, start in enumerate(self._next_offsets):
            partition = TopicPartition(self._topics.transfers, number)
            self._next_offsets[number] = await read_range(Broker(self._kafka), partition, add, start)
        return dict(postings)


_NEW = """
select t.account_id, t.revision, t.transfer_id, t.amount::text, t.total::text
from transfer t left join unnest($1::text[], $2::int8[]) as known (account_id, revision) using (account_id)
where t.revision > coalesce(known.revision, 0) order by 1, 2
"""


async def read_transfer_rows(
    connection: asyncpg.Connection, after: Mapping[str, int]
) -> dict[str, list[TransferRow]]:
    """Returns the transfers of each account after its revision of `after`, in order of revision."""
    rows: dict[str, list[TransferRow]] = defaultdict(list)
    for account, *row in await connection.fetch(_NEW, list(after), list(after.values())):
        rows[account].append(TransferRow(*row))
    return dict(rows)


async def read_account_rows(connection: asyncpg.Connection) -> list[AccountRow]:
    """Returns all rows of `balance`."""
    rows = await connection.fetch(
        "select account_id, revision, transfer_count, version, balance::text, opening::text,"
        " posted_total::text, half_applied::text, drift::text from balance order by 1"
    )
    return [AccountRow(*row) for row in rows]


def add_totals(postings: Sequence[Posting], total: str) -> list[tuple[str, str, str]]:
    """Returns (transfer id, amount, running total) of each posting, starting from `total`."""
    running, rows = parse_money(total), []
    for id_, amount in postings:
        running = running.add(parse_money(amount))
        rows.append((id_, amount, str(running)))
    return rows


def first_difference(left: Sequence[object], right: Sequence[object]) -> str:
    """Describes the first difference of two lists, for the message of an assertion."""
    for n, (left_item, right_item) in enumerate(zip(left, right, strict=False)):
        if left_item != right_item:
            return f"at {n}: {left_item} and {right_item}"
    extra = [*left[len(right) :], *right[len(left) :]][:1]
    return f"{len(left)} and {len(right)} long; first beyond: {extra}"
