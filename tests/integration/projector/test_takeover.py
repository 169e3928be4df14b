"""Two projectors: a lane has one owner, whatever happens to it, and an old owner cannot write."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from livebalance.projector.postgres.store import Store
from livebalance.readmodel import projector_writes
from livebalance.readmodel.rows import BatchRows
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.world import World, balance, history

OWNERS = "select string_agg(distinct owner, ',' order by owner) from lane"


async def fed_in_pieces(world: World, accounts: int, start: int, end: int) -> list[Transfer | Balance]:
    """Some more of the histories of that many accounts."""
    fed: list[Transfer | Balance] = []
    for number in range(accounts):
        fed += history(f"acc-{number}", range(1, end))[1 + 2 * (start - 1) if start > 1 else 0 :]
    await world.write(fed)
    return fed


async def test_the_lanes_of_a_killed_one_go_to_the_other(world: World) -> None:
    first, second = world.start("one"), world.start("two")
    await world.until(OWNERS, "one,two")
    fed = await fed_in_pieces(world, 6, 1, 10)
    first.kill()
    fed += await fed_in_pieces(world, 6, 10, 20)
    await world.applied(fed)
    await world.until(OWNERS, "two")
    assert second.pid is not None
    await world.is_exact(sorted(fed, key=lambda record: record.account))


async def test_a_stopped_one_that_wakes_cannot_write(world: World) -> None:
    """Stopped under load until its lanes have moved; then it wakes beside the new owner."""
    zombie = world.start("zombie", batch_records=20)
    await world.until(OWNERS, "zombie")
    fed = await fed_in_pieces(world, 6, 1, 30)
    zombie.send(signal.SIGSTOP)
    world.start("heir")
    fed += await fed_in_pieces(world, 6, 30, 40)
    await world.until(OWNERS, "heir")
    await world.applied(fed)
    zombie.send(signal.SIGCONT)
    fed += await fed_in_pieces(world, 6, 40, 80)
    await world.applied(fed)
    await world.is_exact(sorted(fed, key=lambda record: record.account))


class Sleeper:
    """Stops one projector just before a transaction, lets that one through when told to, and stops again."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str) -> None:
        self.asleep, self.wake = asyncio.Event(), asyncio.Event()
        self.over = asyncio.Event()  # the last sleep
        write = Store.write

        async def sleepy(store: Store, work: BatchRows) -> None:
            if store._name == name:
                self.asleep.set()
                await (self.over if self.wake.is_set() else self.wake).wait()
            await write(store, work)

        patch.setattr(Store, "write", sleepy)


async def meets_its_heir(world: World, patch: pytest.MonkeyPatch, wakes_to: str) -> None:
    """A batch read when version 1 was the newest is written by its old owner after version 3 was."""
    sleeper = Sleeper(patch, "zombie")
    records = [balance("alice", version, f"t-{version}", version) for version in (1, 2, 3)]
    async with world.running("zombie"):
        await world.until(OWNERS, "zombie")
        await world.write(records[:1])
        await sleeper.asleep.wait()
        async with world.running("heir", projector_group=f"heir-{world.prefix}"):  # has all lanes at once
            await world.write(records[1:])
            await world.until("select version::int from balance", 3)
        sleeper.wake.set()
        await world.until(f"select {wakes_to} from lane", True)
        [row] = await world.ask("select version, revision from balance")
        [lane] = await world.ask("select max(balances_next) from lane")
        sleeper.over.set()
        assert (row["version"], row["revision"], lane[0]) == (3, 3, 3)


async def test_the_fence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await meets_its_heir(world, monkeypatch, "bool_and(owner = 'zombie')")  # it had to claim again


@pytest.fixture
def without_fence() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        statement = projector_writes._WRITE
        for part, without in (
            (projector_writes._MOVE, projector_writes._MOVE.partition("and l.generation")[0]),
            ("and b.revision = x.was", ""),
        ):
            assert part in statement
            statement = statement.replace(part, without, 1)
        patch.setattr(projector_writes, "_WRITE", statement)
        yield patch


@pytest.mark.mutant
async def test_without_the_fence_the_old_owner_writes(
    world: World, without_fence: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match=r"\(1, 1, 1\) == \(3, 3, 3\)"):
        await meets_its_heir(world, without_fence, "max(balances_next) = 1")
