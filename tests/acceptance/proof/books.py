"""What there is of every account in each place that a transfer passes: fed, in Kafka, in SQL."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg
from aiokafka import ConsumerRecord, TopicPartition

from livebalance.feed.stream import pair
from livebalance.runtime.history import replay
from livebalance.runtime.registry import FileRegistry
from livebalance.stack.topics import Topics
from livebalance.wire.avro import decode_transfer
from livebalance.wire.money import NOTHING, money

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
        for n in range(self.transfers):
            for record in pair(self.seed, n, self.accounts, self.name, 0):
                fed[record.account].append((record.id, str(record.amount)))
        return dict(fed)


async def in_kafka(kafka: str, topics: Topics) -> dict[str, list[Movement]]:
    """Every committed transfer record, by account, in the order of the topic."""
    found: dict[str, list[Movement]] = defaultdict(list)
    writers = FileRegistry().writer

    def take(record: ConsumerRecord) -> None:
        transfer = decode_transfer(record.value or b"", writers)
        found[transfer.account].append((transfer.id, str(transfer.amount)))

    for partition in range(topics.partitions):
        await replay(kafka, TopicPartition(topics.transfers, partition), take)
    return dict(found)


async def in_sql(connection: asyncpg.Connection) -> dict[str, list[Row]]:
    """Every row of `transfer`, by account, in the account's order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for account, *row in await connection.fetch(
        "select account_id, revision, transfer_id, amount::text, total::text from transfer order by 1, 2"
    ):
        found[account].append(Row(*row))
    return dict(found)


async def standings(connection: asyncpg.Connection) -> list[Standing]:
    """Every row of `balance`."""
    rows = await connection.fetch(
        "select account_id, revision, transfer_count, version, balance::text, opening::text,"
        " posted_total::text, half_applied::text, drift::text from balance order by 1"
    )
    return [Standing(*row) for row in rows]


def totalled(movements: Sequence[Movement]) -> list[tuple[str, str, str]]:
    """With the running sum in their order, at the amounts' scale."""
    total, rows = NOTHING, []
    for id_, amount in movements:
        total = total.plus(money(amount))
        rows.append((id_, amount, str(total)))
    return rows


def same_accounts(left: Mapping[str, object], right: Mapping[str, object], what: str) -> None:
    assert left.keys() == right.keys(), f"{what}: {sorted(left.keys() ^ right.keys())}"


def first_difference(left: Sequence[object], right: Sequence[object]) -> str:
    """Where two lists part, in words short enough to read."""
    for n, (one, two) in enumerate(zip(left, right, strict=False)):
        if one != two:
            return f"at {n}: {one} and {two}"
    return (
        f"{len(left)} and {len(right)} long; first beyond: {[*left[len(right) :], *right[len(left) :]][:1]}"
    )
