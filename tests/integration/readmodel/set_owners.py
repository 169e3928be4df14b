"""Owners of two lanes that keep the totals of sets as projectors do, and a gateway that follows sets."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from livebalance.projector.fold.account import Account
from livebalance.projector.fold.sets import SetIndex, set_differences
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.connection import Connection, set_numeric_codec
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes, epoch, lane_writes
from livebalance.readmodel.rows import lanes_from_start
from livebalance.readmodel.sets import totals
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
SESSION_ENDED = (  # how the driver says that Postgres has ended a session
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
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

    async def hold_transactions(self) -> None:
        """Lets a batch stay open for longer than the 5 s after which Postgres ends a projector's session."""
        await self._batches.execute("set idle_in_transaction_session_timeout = 0")

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
        """Follows sets, as a gateway does: once more, on a new connection, if this worker was paused.

        Postgres ends the session if more than 2 s pass between the two statements.
        """
        try:
            await self._follow(names)
        except SESSION_ENDED:
            self.gateway = await self.connect("gateway", **gateway_reads.SETTINGS)
            await self._follow(names)

    async def _follow(self, names: Sequence[SetName]) -> None:
        async with self.gateway.transaction():
            await totals.follow_sets(self.gateway, names)

    async def expire(self, name: SetName) -> None:
        await self.sql.execute(EXPIRE, name.channel)

    async def assert_counted_totals_are_those_of_sql(self) -> int:
        """Returns how many totals are counted."""
        wrong = await self.sql.fetch(WRONG)
        assert not wrong, f"counted totals are not those of SQL: {wrong}"
        return int(await self.sql.fetchval(COUNTED))


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
