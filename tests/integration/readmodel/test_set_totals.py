"""Totals of sets are kept with each batch: whatever owners and gateways do, they are those of SQL."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from livebalance.projector.fold.account import Account
from livebalance.projector.fold.sets import SetIndex, set_differences
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.connection import Connection, set_numeric_codec
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes, epoch, lane_writes
from livebalance.readmodel.rebuild import replacement
from livebalance.readmodel.rows import lanes_from_start
from livebalance.readmodel.sets import totals
from livebalance.readmodel.sets.reads import read_set
from livebalance.wire.identity import AccountId, Epoch, Lane, SetName
from livebalance.wire.money import Money, parse_money
from livebalance.wire.sets.batch import KeptTotal
from tests.servers.database import Database

EPOCH = Epoch("0123456789abcdef")
LANES, NO_LANE = [Lane(0), Lane(1)], Lane(-1)
EU, ALL, C1 = SetName("prefix", "EU-"), SetName("prefix", ""), SetName("client", "c-1")
SETS = [EU, SetName("prefix", "EU-1"), ALL, C1, SetName("client", "c-2")]
ACCOUNTS = [AccountId(f"{region}-{number}") for region in ("EU", "US") for number in (1, 2, 12)]

# Differences between counted totals and what SQL sums up, in one snapshot.
WRONG = """
with counted as (
  select f.channel, l.lane from counted_set c join followed_set f using (channel) join lane l using (lane)
   where c.generation >= l.kept_since and l.kept_generation = l.generation),
kept as (
  select lane, channel, currency, scale, accounts, amount
    from counted join set_total using (channel, lane) where (accounts, amount) <> (0, 0)),
stored as (
  select c.lane, c.channel, coalesce(b.currency, '') as currency, scale(b.balance) as scale,
         count(*) as accounts, sum(b.balance) as amount
    from counted c
    join balance b on b.lane = c.lane and b.balance is not null
     and case when c.channel like 'prefix:%' then starts_with(b.account_id, substr(c.channel, 8))
              else b.client_id = substr(c.channel, 8) end
   group by 1, 2, 3, 4)
select k.*, s.* from kept k full join stored s using (lane, channel, currency, scale)
 where (k.accounts, k.amount) is distinct from (s.accounts, s.amount)
"""
COUNTED = """
select count(*) from counted_set c join lane l using (lane) where c.generation >= l.kept_since
"""
EXPIRE = "update followed_set set followed_until = now() - interval '1 s' where channel = $1"


def lane_of(account: AccountId) -> Lane:
    return Lane(ACCOUNTS.index(account) % 2)


class Owner:
    """A projector that owns a lane: it writes batches, names its sets anew, and counts."""

    def __init__(self, name: str, batches: Connection, upkeep: Connection) -> None:
        self.name = name
        self.currency = "EUR"
        self.lane = NO_LANE
        self.generation = 0
        self.followed = totals.FollowedSets({})
        self._batches, self._upkeep = batches, upkeep

    async def claim(self, lane: Lane) -> None:
        claimed = await lane_writes.claim_lane(self._batches, lane, self.name)
        self.lane, self.generation = lane, claimed.generation
        await self.look()

    async def look(self) -> None:
        """Reads which sets are followed, as each second."""
        self.followed = await totals.read_followed(self._batches)

    async def forget(self) -> None:
        await totals.forget_sets(self._upkeep, [LaneOwner(self.lane, self.generation)])

    async def count(self) -> int:
        """Counts the sets that are to be counted. Returns how many totals were wrong."""
        wrong = 0
        for name in await totals.read_uncounted(self._upkeep, [self.lane]):
            if since := self.followed.since.get(name):
                owners = [LaneOwner(self.lane, self.generation)]
                wrong += await totals.count_set(self._upkeep, name, since, owners)
        return wrong

    async def count_all(self) -> None:
        await self.look()
        await self.count()

    @asynccontextmanager
    async def batch(
        self, *changes: tuple[AccountId, str | None, str]
    ) -> AsyncIterator[dict[Lane, list[KeptTotal]]]:
        """Writes accounts, each with its amount (None: erased) and its client, and commits at the end."""
        async with self._batches.transaction():
            moved = await self._batches.execute(
                "update lane set batches = batches + 1 where lane = $1 and generation = $2",
                self.lane,
                self.generation,
            )
            if moved == "UPDATE 0":
                yield {}  # fenced
                return
            index = SetIndex(self.followed.since)
            pairs = [await self._change(*change) for change in changes if lane_of(change[0]) == self.lane]
            differences = set_differences(index, pairs, self.currency)
            yield await totals.add_to_totals(self._batches, differences) if differences else {}

    async def _change(
        self, account: AccountId, amount: str | None, client: str
    ) -> tuple[Account | None, Account]:
        row = await self._batches.fetchrow(
            "select balance, client_id, currency from balance where account_id = $1", account
        )
        after = Account(account, self.lane, amount=parse_money(amount) if amount else None, client_id=client)
        await self._batches.execute(
            "insert into balance (account_id, revision, lane, balance, client_id, currency, posted_total,"
            " transfer_count, recorded_at) values ($1, 1, $2, $3, $4, $5, 0, 0, now())"
            " on conflict (account_id) do update set balance = $3, client_id = $4, currency = $5,"
            " revision = balance.revision + 1",
            account,
            self.lane,
            amount,
            client,
            self.currency if amount else None,
        )
        if row is None:
            return None, after
        amount_before, client_before, currency = row
        return Account(
            account, self.lane, amount=amount_before, client_id=client_before, currency=currency
        ), after


class Projection:
    """Two lanes, owners of them, and gateways."""

    def __init__(self, database: Database, stack: AsyncExitStack) -> None:
        self._database, self._stack = database, stack

    async def connect(self, role: str, **settings: str) -> Connection:
        connection = await asyncpg.connect(self._database.url(role), server_settings=settings)
        self._stack.push_async_callback(connection.close)
        return connection

    async def create(self) -> None:
        self.sql = await self.connect("owner")
        projector = await self.connect("projector")
        here = await epoch.read_server_identity(projector)
        await epoch.create_projection(projector, EPOCH, here, lanes_from_start(2))
        self.gateway = await self.connect("gateway", **gateway_reads.SETTINGS)

    async def owner(self, name: str, lane: Lane | None = None) -> Owner:
        connections = [await self.connect("projector", **batch_writes.SETTINGS) for _ in range(2)]
        await set_numeric_codec(connections[0])
        owner = Owner(name, *connections)
        if lane is not None:
            await owner.claim(lane)
        return owner

    async def follow(self, *names: SetName) -> None:
        async with self.gateway.transaction():
            await totals.follow_sets(self.gateway, names)

    async def expire(self, name: SetName) -> None:
        await self.sql.execute(EXPIRE, name.channel)

    async def assert_counted_totals_are_those_of_sql(self) -> int:
        """Returns how many totals are counted."""
        assert await self.sql.fetch(WRONG) == []
        return int(await self.sql.fetchval(COUNTED))


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
    gateway, ended = await projection.connect("gateway", **gateway_reads.SETTINGS), asyncio.Event()
    gateway.add_termination_listener(lambda _: ended.set())
    await gateway.transaction().start()
    await totals.follow_sets(gateway, [ALL])
    async with asyncio.timeout(1.5), other.batch((AccountId("EU-2"), "2.00", "c-1")):
        await owner.forget()
        await owner.look()
        await owner.count_all()
        async with owner.batch((AccountId("EU-1"), "2.00", "c-1")):
            pass
    async with asyncio.timeout(30):
        await ended.wait()  # by Postgres
    await projection.follow(ALL)
    assert await projection.assert_counted_totals_are_those_of_sql() == 2


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


class Chance:
    """A random order of what owners, gateways, older releases and operators do, from a seed."""

    def __init__(self, projection: Projection, owners: list[Owner], seed: int) -> None:
        self._projection, self._owners, self._random = projection, owners, random.Random(seed)

    async def step(self) -> None:
        chance, owner = self._random, self._random.choice(self._owners)
        steps: list[tuple[int, Callable[[], Awaitable[object]]]] = [
            (20, lambda: self._batch(owner)),
            (10, lambda: self._projection.follow(*chance.sample(SETS, 2))),
            (5, lambda: self._projection.expire(chance.choice(SETS))),
            (20, owner.look),
            (10, owner.forget),
            (20, owner.count),
            (4, lambda: owner.claim(chance.choice(LANES))),
            (1, lambda: self._older(owner)),
        ]
        weights, actions = zip(*steps, strict=True)
        await chance.choices(actions, weights)[0]()

    async def _batch(self, owner: Owner) -> None:
        if owner.lane == NO_LANE:
            return
        chance = self._random
        owner.currency = "USD" if chance.random() < 0.1 else "EUR"
        accounts = chance.sample([account for account in ACCOUNTS if lane_of(account) == owner.lane], 2)
        amounts = [
            None if chance.random() < 0.1 else str(Money(chance.randint(-999, 999), 2)) for _ in accounts
        ]
        if chance.random() < 0.2:
            amounts[0] = "7.125"
        changes = [
            (account, amount, chance.choice(["c-1", "c-2"]))
            for account, amount in zip(accounts, amounts, strict=True)
        ]
        async with owner.batch(*changes):
            first, second = chance.sample([each for each in self._owners if each is not owner], 2)
            steps = [owner.count(), first.count(), chance.choice([second.forget, second.count])()]
            if chance.random() < 0.2:
                steps[-1].close()
                steps[-1] = second.claim(owner.lane)
            tasks = [asyncio.create_task(step) for step in steps]  # beside the open transaction
            await self._projection.assert_counted_totals_are_those_of_sql()
        await asyncio.gather(*tasks)

    async def _older(self, owner: Owner) -> None:
        """A projector of an older release takes the lane, and writes batches."""
        owner.generation = await self._projection.sql.fetchval(
            "update lane set generation = generation + 1 where lane = $1 returning generation", owner.lane
        )
        owner.followed = totals.FollowedSets({})
        await self._batch(owner)
        owner.lane = NO_LANE


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
