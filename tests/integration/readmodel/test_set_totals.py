"""Totals of sets are kept with each batch: whatever owners and gateways do, they are those of SQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from livebalance.readmodel import gateway_reads
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rebuild import replacement
from livebalance.readmodel.sets import totals
from livebalance.readmodel.sets.reads import read_set
from livebalance.wire.identity import AccountId, Lane, SetName
from livebalance.wire.sets.batch import KeptTotal
from tests.integration.readmodel.set_owners import (
    ALL,
    C1,
    EU,
    LANES,
    SESSION_ENDED,
    Chance,
    Projection,
)
from tests.servers.database import Database


@pytest.fixture
async def projection(database: Database) -> AsyncIterator[Projection]:
    async with AsyncExitStack() as stack:
        projection = Projection(database, stack)
        await projection.create()
        yield projection


async def kept(projection: Projection, name: SetName) -> dict[tuple[int, str, int], tuple[int, str]]:
    rows = await projection.sql.fetch("select * from set_total where channel = $1", name.channel)
    return {
        (row["lane"], row["currency"], row["scale"]): (row["accounts"], str(row["amount"])) for row in rows
    }


async def test_batch_adds_its_difference_and_returns_the_totals(projection: Projection) -> None:
    owner = await projection.owner("one", Lane(0))
    async with owner.batch((AccountId("EU-1"), "1.00", "c-1"), (AccountId("EU-12"), "2.5", "c-2")):
        pass
    await projection.follow(EU, C1)
    await owner.look()
    async with owner.batch((AccountId("EU-1"), "3.00", "c-1")) as returned:
        assert returned == {}  # not counted yet
    await owner.count_all()
    async with owner.batch((AccountId("EU-1"), "4.00", "c-1"), (AccountId("US-2"), "7", "c-1")) as returned:
        pass
    assert sorted(returned[Lane(0)], key=str) == [
        KeptTotal("client:c-1", "EUR", "4.00", 1),
        KeptTotal("client:c-1", "EUR", "7", 1),
        KeptTotal("prefix:EU-", "EUR", "2.5", 1),  # of another scale, which the batch did not change
        KeptTotal("prefix:EU-", "EUR", "4.00", 1),
    ]
    async with owner.batch((AccountId("EU-1"), None, "c-1")) as returned:
        pass
    assert KeptTotal("client:c-1", "EUR", "0.00", 0) in returned[Lane(0)]
    assert await projection.assert_counted_totals_are_those_of_sql() == 2


async def test_batch_that_is_not_committed_adds_nothing(projection: Projection) -> None:
    owner = await projection.owner("one", Lane(0))
    await projection.follow(EU)
    await owner.count_all()
    with pytest.raises(ZeroDivisionError):
        async with owner.batch((AccountId("EU-1"), "1.00", "c-1")):
            raise ZeroDivisionError
    assert await kept(projection, EU) == {}
    assert await projection.assert_counted_totals_are_those_of_sql() == 1


async def test_batches_that_commit_around_the_count_are_counted_once(projection: Projection) -> None:
    owner = await projection.owner("one", Lane(0))
    async with owner.batch((AccountId("EU-1"), "1.00", "c-1")):
        pass
    await projection.follow(EU)
    await owner.look()
    async with owner.batch((AccountId("EU-1"), "2.00", "c-1"), (AccountId("EU-12"), "5.00", "c-1")):
        counting = asyncio.create_task(owner.count())
        waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
        async with asyncio.timeout(30):
            while not await projection.sql.fetchval(waits):  # noqa: ASYNC110 - SQL has no event
                await asyncio.sleep(0.01)
    await counting
    assert await kept(projection, EU) == {(0, "EUR", 2): (2, "7.00")}
    assert await projection.assert_counted_totals_are_those_of_sql() == 1


@pytest.mark.parametrize("numbers_batches", [False, True])
async def test_total_that_an_older_release_left_behind_is_counted_again(
    projection: Projection, numbers_batches: bool
) -> None:
    owner, _ = await projection.owner("one", Lane(0)), await projection.owner("two", Lane(1))
    await projection.follow(EU)
    await owner.count_all()
    assert await projection.assert_counted_totals_are_those_of_sql() == 1
    older = await projection.owner("older")
    older.lane = Lane(0)
    older.generation = await projection.sql.fetchval(
        "update lane set generation = generation + 1,"
        " batches_generation = case when $1 then generation + 1 else batches_generation end"
        " where lane = 0 returning generation",
        numbers_batches,
    )
    async with older.batch((AccountId("EU-1"), "1.00", "c-1")):
        pass
    if numbers_batches:
        assert (await read_set(projection.gateway, EU, 10)).wrong_lanes == []  # nothing is compared
    await owner.claim(Lane(0))
    assert await projection.assert_counted_totals_are_those_of_sql() == 0
    await owner.count_all()
    assert await projection.assert_counted_totals_are_those_of_sql() == 1
    assert await kept(projection, EU) == {(0, "EUR", 2): (1, "1.00")}


async def test_rebuild_lets_the_totals_be_counted_again(projection: Projection) -> None:
    owner = await projection.owner("one", Lane(0))
    await projection.follow(EU)
    await owner.count_all()
    async with projection.sql.transaction():
        await projection.sql.execute(
            "insert into balance (account_id, revision, lane, balance, client_id, posted_total,"
            " transfer_count, recorded_at) values ('EU-1', 1, 0, 5, 'c-1', 0, 0, now())"
        )
        await replacement.begin_epoch(projection.sql, "test")
    assert await projection.assert_counted_totals_are_those_of_sql() == 0
    await owner.claim(Lane(0))
    await owner.count_all()
    assert await projection.assert_counted_totals_are_those_of_sql() == 1


async def test_set_that_is_not_followed_any_more_is_forgotten(projection: Projection) -> None:
    """Another owner may add to it still. That does no harm when the set is followed again."""
    owner, other = await projection.owner("one", Lane(0)), await projection.owner("two", Lane(1))
    await projection.follow(ALL)
    for each in (owner, other):
        await each.count_all()
    async with owner.batch((AccountId("EU-1"), "1.00", "c-1")):
        pass
    assert await kept(projection, ALL)
    await projection.expire(ALL)
    await owner.forget()
    await owner.look()
    async with owner.batch((AccountId("EU-1"), "2.00", "c-1")):
        pass
    await owner.forget()
    assert await kept(projection, ALL) == {}
    assert await projection.assert_counted_totals_are_those_of_sql() == 0
    async with other.batch((AccountId("EU-2"), "1.00", "c-1")):
        pass
    async with owner.batch((AccountId("EU-1"), "2.00", "c-1")):
        pass
    await projection.follow(ALL)
    assert await projection.assert_counted_totals_are_those_of_sql() == 0
    for each in (owner, other):
        await each.count_all()
    assert await projection.assert_counted_totals_are_those_of_sql() == 2


async def test_two_counts_of_a_set_add_what_is_missing_once(projection: Projection) -> None:
    """Postgres goes on with a count whose connection is lost, and the owner counts again."""
    owner, again = await projection.owner("one", Lane(0)), await projection.owner("again")
    await projection.follow(EU)
    async with owner.batch((AccountId("EU-12"), "5.00", "c-1")):
        pass
    await owner.look()
    again.lane, again.generation, again.followed = owner.lane, owner.generation, owner.followed
    async with owner.batch((AccountId("EU-1"), "1.00", "c-1")):
        counts = [asyncio.create_task(each.count()) for each in (owner, again)]
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        async with asyncio.timeout(30):
            while await projection.sql.fetchval(waiting) < 2:  # noqa: ASYNC110 - SQL has no event
                await asyncio.sleep(0.01)
    await asyncio.gather(*counts)
    assert await kept(projection, EU) == {(0, "EUR", 2): (2, "6.00")}
    assert await projection.assert_counted_totals_are_those_of_sql() == 1


async def test_former_owner_counts_nothing(projection: Projection) -> None:
    """It has not noticed the claim, and reads of a set that the new owner does not follow yet."""
    former = await projection.owner("former", Lane(0))
    new = await projection.owner("new", Lane(0))
    await projection.follow(EU)
    await former.count_all()
    assert await projection.assert_counted_totals_are_those_of_sql() == 0
    async with new.batch((AccountId("EU-1"), "2.00", "c-1")):
        pass
    assert await projection.assert_counted_totals_are_those_of_sql() == 0


async def test_batch_and_look_wait_for_nobody_else(projection: Projection) -> None:
    """Others are stopped while they hold what they lock: a gateway, and a projector with another lane."""
    owner, other = await projection.owner("one", Lane(0)), await projection.owner("two", Lane(1))
    await projection.follow(ALL)
    for each in (owner, other):
        await each.count_all()
    for each, account in ((owner, "EU-1"), (other, "EU-2")):
        async with each.batch((AccountId(account), "1.00", "c-1")):
            pass
    await projection.expire(ALL)
    gateway = await projection.connect("gateway", **gateway_reads.SETTINGS)
    transaction = gateway.transaction()
    await transaction.start()
    # As `follow_sets`, but Postgres does not end it after 2 s: whoever waited for it would wait for ever.
    await gateway.execute("set transaction read write")
    await gateway.execute("select follow_sets($1)", [ALL.channel])
    await other.hold_transactions()
    async with asyncio.timeout(30), other.batch((AccountId("EU-2"), "2.00", "c-1")):
        await owner.forget()
        await owner.look()
        await owner.count_all()
        async with owner.batch((AccountId("EU-1"), "2.00", "c-1")):
            pass
    await transaction.rollback()
    await projection.follow(ALL)
    assert await projection.assert_counted_totals_are_those_of_sql() == 2


async def test_gateway_that_stops_while_it_follows_sets_is_ended(projection: Projection) -> None:
    gateway, ended = await projection.connect("gateway", **gateway_reads.SETTINGS), asyncio.Event()
    gateway.add_termination_listener(lambda _: ended.set())
    with contextlib.suppress(*SESSION_ENDED):  # already between its two statements
        await gateway.transaction().start()
        await totals.follow_sets(gateway, [ALL])
    async with asyncio.timeout(30):
        await ended.wait()  # by Postgres
    await projection.follow(ALL)


async def test_former_owner_forgets_nothing(projection: Projection) -> None:
    """The set may be followed and counted again, while the former owner still sees that nobody follows it."""
    former = await projection.owner("former", Lane(0))
    await projection.follow(EU)
    await former.count_all()
    async with former.batch((AccountId("EU-1"), "1.00", "c-1")):
        pass
    new = await projection.owner("new", Lane(0))
    await projection.sql.execute("delete from followed_set")
    await former.forget()
    assert await kept(projection, EU)
    await new.forget()
    assert not await kept(projection, EU)


async def test_set_that_was_followed_anew_meanwhile_is_not_counted(projection: Projection) -> None:
    """Counts may wait for long. The owner has seen meanwhile that nobody follows the set."""
    owner = await projection.owner("one", Lane(0))
    await projection.follow(EU)
    await owner.look()
    waiting = owner.followed
    await projection.expire(EU)
    await owner.forget()
    await owner.look()
    assert not owner.followed.since
    await projection.follow(EU)
    owner.followed, seen = waiting, owner.followed
    await owner.count()
    owner.followed = seen
    assert await projection.assert_counted_totals_are_those_of_sql() == 0
    async with owner.batch((AccountId("EU-1"), "2.00", "c-1")):
        pass
    assert await projection.assert_counted_totals_are_those_of_sql() == 0


async def test_wrong_total_is_found_and_corrected(projection: Projection) -> None:
    owner = await projection.owner("one", Lane(0))
    await projection.owner("two", Lane(1))
    await projection.follow(EU)
    await owner.count_all()
    async with owner.batch((AccountId("EU-1"), "2.00", "c-1")):
        pass
    assert (await read_set(projection.gateway, EU, 10)).wrong_lanes == []
    for wrong in ("amount = amount + 0.01", "accounts = accounts + 1", "scale = 3", "currency = 'USD'"):
        await projection.sql.execute(f"update set_total set {wrong}")
        assert (await read_set(projection.gateway, EU, 10)).wrong_lanes == [Lane(0)]
        await projection.sql.execute("update counted_set set counted_at = now() - interval '11 minutes'")
        await owner.look()
        assert await owner.count() == 1
        assert (await read_set(projection.gateway, EU, 10)).wrong_lanes == []
        assert await projection.assert_counted_totals_are_those_of_sql() == 1


async def test_gateways_together_follow_at_most_so_many_sets(projection: Projection) -> None:
    others = [await projection.connect("gateway", **gateway_reads.SETTINGS) for _ in range(4)]

    async def follow(connection: Connection, number: int) -> None:
        async with connection.transaction():
            names = [SetName("prefix", f"{number}-{each}") for each in range(300)]
            await totals.follow_sets(connection, names)

    await asyncio.gather(*(follow(connection, number) for number, connection in enumerate(others)))
    assert await projection.sql.fetchval("select count(*) from followed_set") == 1000
    query = "select channel, followed_until from followed_set"
    channel, until = (await projection.sql.fetch(query))[0]
    await projection.follow(SetName("prefix", channel.removeprefix("prefix:")), EU)
    rows = {row["channel"]: row["followed_until"] for row in await projection.sql.fetch(query)}
    assert (len(rows), EU.channel in rows, rows[channel] > until) == (1000, False, True)


async def write(gateway: Connection, statement: str, *given: object) -> None:
    async with gateway.transaction():
        await gateway.execute("set transaction read write")
        await gateway.execute(statement, *given)


async def test_gateway_names_sets_and_writes_nothing_else(projection: Projection) -> None:
    owner = await projection.owner("one", Lane(0))
    await projection.follow(EU, C1)
    async with owner.batch((AccountId("EU-1"), "2.00", "c-1")):
        pass
    await owner.count_all()
    for table in ("counted_set", "set_total"):
        assert await projection.gateway.fetch(f"select * from {table}") == []
        async with projection.gateway.transaction():
            await projection.gateway.execute("select set_config('livebalance.prefixes', 'US-*,EU-*', true)")
            rows = await projection.gateway.fetch(f"select channel from {table}")
            assert [row[0] for row in rows] == ["prefix:EU-"]
    for statement in (
        "select * from followed_set",
        "delete from followed_set",
        "insert into followed_set values ('prefix:', now(), 'infinity')",
        "update counted_set set generation = 9",
        "update set_total set amount = 0",
        "delete from set_total",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await write(projection.gateway, statement)
    for name in ("prefix", "EU-", "account:EU-1", "prefix:" + "a" * 200, "prefix:a\nb"):
        with pytest.raises(asyncpg.CheckViolationError):
            await write(projection.gateway, "select follow_sets($1)", [name])


@pytest.mark.parametrize("seed", range(4))
async def test_counted_totals_are_those_of_sql_in_any_order(projection: Projection, seed: int) -> None:
    owners = [await projection.owner(name, lane) for name, lane in zip("abc", [*LANES, Lane(0)], strict=True)]
    chance, compared = Chance(projection, owners, seed), 0
    for _ in range(150):
        await chance.step()
        compared += await projection.assert_counted_totals_are_those_of_sql()
    assert compared > 50


async def test_function_of_the_owner_runs_no_code_of_its_caller(projection: Projection) -> None:
    """A temporary table of the same name could have a trigger, which would have the rights of the owner."""
    database = await projection.sql.fetchval("select current_database()")
    await projection.sql.execute(f'grant temporary on database "{database}" to gateway')
    await write(projection.gateway, "create temporary table followed_set (channel text, followed_until text)")
    await projection.follow(EU)
    assert await projection.sql.fetchval("select channel from followed_set") == EU.channel
