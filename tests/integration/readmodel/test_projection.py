"""The statements of a projector: rows are read as they were written, and the fence holds."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from livebalance.projector.fold.account import account_from_row
from livebalance.projector.fold.fold import FoldResult, batch_rows, fold
from livebalance.projector.fold.records import Content, Incoming
from livebalance.readmodel.connection import Connection, set_numeric_codec
from livebalance.readmodel.projection import account_reads, batch_writes, epoch, lane_writes
from livebalance.readmodel.rows import (
    BalanceRow,
    BatchRows,
    LaneMove,
    QuarantineRow,
    ServerIdentity,
    TopicIds,
    TransferRow,
    lanes_from_start,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.raw_record import Erasure, Rejected
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import INT64_MIN, Money
from livebalance.wire.timestamp import MAX_MILLIS, Millis
from tests.servers.database import Database
from tests.unit.projector.histories import incoming_records
from tests.unit.projector.memory_store import MemoryStore

EPOCH = Epoch("0123456789abcdef")
A, B = AccountId("a"), AccountId("b")
HERE = ServerIdentity("1", "00000001")


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A connection as `projector` to a projection with three lanes."""
    connection = await asyncpg.connect(database.url("projector"))
    await set_numeric_codec(connection)
    await epoch.create_projection(connection, EPOCH, HERE, lanes_from_start(3))
    yield connection
    await connection.close()


# --- the memory store of the unit tests equals Postgres ---


def random_batch(rng: random.Random) -> list[Incoming]:
    """Returns random records, also invalid ones."""

    def amount() -> Money:
        return Money(rng.choice([rng.randint(-9, 9), INT64_MIN]), rng.choice([0, 2, 18]))

    def content() -> Content:
        account, id_ = rng.choice([A, B]), TransferId(rng.choice("1234"))
        kind, version = rng.randrange(12), rng.randrange(5)
        if kind == 0:
            return Erasure(account)
        if kind == 1:
            return Rejected("bad")
        if kind < 7:
            return Transfer(id_, account, amount(), rng.choice([0, 1, MAX_MILLIS]))
        return Balance(account, 'c"{},\\', id_ if version else TransferId(""), amount(), version)

    records = [content() for _ in range(rng.randint(0, 12))]
    return incoming_records(records, [rng.randrange(10**6) for _ in records])


async def write(connection: Connection, batch: BatchRows) -> None:
    result = await batch_writes.write_batch(connection, "transfers", batch)
    assert result == (len(batch.moves), len(batch.balances), len(batch.transfers))
    if batch.quarantined:
        await batch_writes.insert_quarantined(connection, batch.quarantined)


async def onto(connection: Connection, batch: list[Incoming]) -> FoldResult:
    """Folds a batch onto the state stored in Postgres."""
    accounts = {
        row.account: account_from_row(row) for row in await account_reads.stored_balances(connection, [A, B])
    }
    named = [(account, TransferId(id_)) for account in (A, B) for id_ in "1234"]
    return fold(batch, accounts, await account_reads.listed_transfers(connection, named))


@pytest.mark.parametrize("seed", range(4))
async def test_memory_store_equals_postgres(connection: Connection, seed: int) -> None:
    rng, store = random.Random(seed), MemoryStore()
    for _ in range(12):
        batch = random_batch(rng)
        done = batch_rows([], await onto(connection, batch), "EUR", all_looked_up=True)
        expected = fold(batch, store.accounts(), store.listed())
        assert done == batch_rows([], expected, "EUR", all_looked_up=True)
        await write(connection, done)
        store.write(done)
    rows = await connection.fetch(
        "select t.* from transfer t join balance b using (account_id) where t.revision > b.erased_revision"
        " order by account_id, t.revision"
    )
    assert [(row["transfer_id"], str(row["amount"]), str(row["total"])) for row in rows] == [
        (row.transfer_id, row.amount, row.total)
        for row in sorted(store.transfers, key=lambda transfer: (transfer.account, transfer.revision))
    ]
    assert await connection.fetchval("select count(*) from quarantine") == len(store.quarantined)


async def test_times_round_trip_exactly(connection: Connection) -> None:
    times = [0, 1, 999, 1_795_540_800_251, MAX_MILLIS - 1, MAX_MILLIS]
    rows = [
        TransferRow(
            A, Revision(at + 1), TransferId(f"t{at}"), "1", "1", Millis(at), Millis(at), Lane(0), Offset(0)
        )
        for at in times
    ]
    await batch_writes.write_batch(connection, "transfers", BatchRows(transfers=rows))
    listed = await account_reads.listed_transfers(connection, [(A, row.transfer_id) for row in rows])
    assert [listed[A, row.transfer_id].occurred_at for row in rows] == times


# --- the fence ---


def move(**changed: Any) -> LaneMove:
    default = LaneMove(
        Lane(0), 1, EPOCH, Offset(0), Offset(0), Offset(5), Offset(6), Offset(4), b"t", None, None, Millis(9),
        Millis(10), None,
    )  # fmt: skip
    return default._replace(**changed)


async def test_claim_fences_the_previous_generation(connection: Connection) -> None:
    first = await lane_writes.claim_lane(connection, Lane(0), "one")
    assert (first.generation, first.epoch, first.transfers_next) == (1, EPOCH, 0)
    assert await lane_writes.move_lanes(connection, [move()]) == 1
    second = await lane_writes.claim_lane(connection, Lane(0), "two")
    assert second == (Lane(0), 2, EPOCH, 5, 6, 4, b"t", None, None, None, True, None, None, 0, None, 1)
    late = move(transfers_from=Offset(5), balances_from=Offset(6))
    assert await lane_writes.move_lanes(connection, [late]) == 0
    assert await lane_writes.move_lanes(connection, [late._replace(generation=2)]) == 1


async def test_claim_stores_topic_ids_only_while_they_are_unknown(
    connection: Connection,
) -> None:
    first, second = (TopicIds(*(UUID(int=id_) for id_ in range(number, number + 3))) for number in (1, 4))
    for ids in (first, second):
        row = await lane_writes.claim_lane(connection, Lane(0), "one", ids)
        assert (row.transfers_topic_id, row.balances_topic_id, row.lifecycle_topic_id) == first


async def test_fence_moves_only_lanes_in_the_expected_state(connection: Connection) -> None:
    await lane_writes.claim_lane(connection, Lane(0), "one")
    changes: list[dict[str, Any]] = [
        {"generation": 2},
        {"epoch": "ffffffffffffffff"},
        {"transfers_from": 1},
        {"balances_from": 1},
        {"lane": 7},
    ]
    moved = [change for change in changes if await lane_writes.move_lanes(connection, [move(**change)])]
    assert moved == []
    assert await lane_writes.move_lanes(connection, [move(), move(lane=Lane(7))]) == 1


async def test_as_of_never_decreases_and_an_unread_topic_keeps_its_checkpoint(
    connection: Connection,
) -> None:
    await lane_writes.claim_lane(connection, Lane(0), "one")
    await lane_writes.move_lanes(connection, [move()])
    still = move(transfers_from=Offset(5), balances_from=Offset(6), transfers_last=None)
    await lane_writes.move_lanes(
        connection, [still._replace(transfers_fingerprint=None, as_of=Millis(3), last_event_at=None)]
    )
    row = await connection.fetchrow("select * from lane where lane = 0")
    assert row is not None
    assert (row["transfers_last"], row["transfers_fingerprint"]) == (4, b"t")
    assert row["as_of"].microsecond == 10_000
    assert row["last_event_at"].microsecond == 9_000


def row(from_: int, revision: int, account: AccountId = A) -> BalanceRow:
    return BalanceRow(
        account, Revision(from_), Revision(revision), Lane(0), None, None, None, None, None, None, None,
        "0", 0, None, None, None, None, None, None, None, Millis(0),
    )  # fmt: skip


async def balances(connection: Connection, *rows: BalanceRow) -> int:
    return (await batch_writes.write_batch(connection, "transfers", BatchRows(balances=rows))).balances


async def test_account_is_written_only_at_the_expected_revision(
    connection: Connection,
) -> None:
    assert await balances(connection, row(0, 2), row(0, 1, B)) == 2
    assert await balances(connection, row(0, 3)) == 0
    assert await balances(connection, row(1, 3), row(1, 2, B)) == 1
    assert await balances(connection, row(2, 3), row(0, 1, AccountId("c"))) == 2
    assert await connection.fetchval("select revision from balance where account_id = 'a'") == 3


def listed(revision: int, id_: str) -> TransferRow:
    return TransferRow(
        A, Revision(revision), TransferId(id_), "1", "1", Millis(0), Millis(0), Lane(0), Offset(0)
    )


async def test_transfer_cannot_be_listed_twice(connection: Connection) -> None:
    async def transfers(*rows: TransferRow) -> int:
        batch = BatchRows(transfers=rows)
        return (await batch_writes.write_batch(connection, "transfers", batch)).transfers

    assert await transfers(listed(1, "t")) == 1
    assert await transfers(listed(2, "t"), listed(3, "u")) == 1
    with pytest.raises(asyncpg.UniqueViolationError):
        await transfers(listed(3, "v"))


async def test_transfer_replaces_an_erased_transfer_only_if_all_were_looked_up(
    connection: Connection,
) -> None:
    async def transfers(batch: BatchRows) -> int:
        return (await batch_writes.write_batch(connection, "transfers", batch)).transfers

    opened = [row(0, 3), row(0, 3, B)]
    assert await transfers(BatchRows(balances=opened, transfers=[listed(1, "t"), listed(2, "u")])) == 2
    erasing = [row(3, 6)._replace(erased_revision=Revision(4))]
    again = BatchRows(balances=erasing, transfers=[listed(5, "t"), listed(6, "v")])
    assert await transfers(again) == 1  # the caller rolls this back
    again = BatchRows(transfers=[listed(7, "t"), listed(8, "u")], replaces_erased=True)
    assert await transfers(again) == 2
    assert await transfers(BatchRows(transfers=[listed(9, "v")], replaces_erased=True)) == 0
    rows = await connection.fetch("select revision, transfer_id from transfer order by revision")
    assert [tuple(row) for row in rows] == [(6, "v"), (7, "t"), (8, "u")]


async def test_erased_revision_never_decreases(connection: Connection) -> None:
    assert await balances(connection, row(0, 5)) == 1
    for revision, erased in ((5, 4), (6, 2)):
        changed = row(revision, revision + 1)._replace(erased_revision=Revision(erased))
        assert await balances(connection, changed) == 1
    assert await connection.fetchval("select erased_revision from balance") == 4


async def test_erased_transfer_is_not_listed(connection: Connection) -> None:
    transfers = [listed(1, "t"), listed(3, "u")]
    batch = BatchRows(balances=[row(0, 3)], transfers=transfers)
    await batch_writes.write_batch(connection, "transfers", batch)
    await connection.execute("update balance set erased_revision = 2")
    keys = [(A, transfer.transfer_id) for transfer in transfers]
    assert list(await account_reads.listed_transfers(connection, keys)) == [(A, "u")]


async def test_batch_of_a_fenced_projector_writes_nothing(
    connection: Connection,
) -> None:
    await lane_writes.claim_lane(connection, Lane(0), "one")
    before = BatchRows(balances=[row(0, 2)], transfers=[listed(1, "t")])
    await batch_writes.write_batch(connection, "transfers", before)
    one_of_two = [move(), move(lane=Lane(1))]
    late = BatchRows(one_of_two, [row(2, 3), row(0, 1, B)], [A], [listed(2, "u")])
    assert await batch_writes.write_batch(connection, "transfers", late) == (1, 0, 0)
    assert await connection.fetchval("select max(revision) from balance") == 2
    assert await connection.fetchval("select transfer_id from transfer") == "t"


# --- locks, epochs, quarantine ---


async def test_only_a_backend_of_the_same_role_is_terminated(
    database: Database, connection: Connection
) -> None:
    for role, ended in (("owner", 0), ("projector", 1)):
        other = await asyncpg.connect(database.url(role))
        await other.execute("begin")
        await other.execute("update lane set owner = 'other'")
        assert await lane_writes.terminate_lock_holder(connection, Lane(0)) == ended
        if role == "owner":
            await other.execute("rollback")
            await other.close()
        else:
            other.terminate()


async def test_epoch_is_changed_by_a_single_process(connection: Connection) -> None:
    other_server = ServerIdentity("2", "00000002")
    other = Epoch("f" * 16)
    assert await epoch.change_epoch(connection, EPOCH, other, other_server)
    assert not await epoch.change_epoch(connection, EPOCH, Epoch("e" * 16), other_server)
    assert {row[0] for row in await connection.fetch("select epoch from lane")} == {other}
    projection = await epoch.read_projection(connection)
    assert projection is not None
    assert projection.epoch == other


async def test_concurrent_projectors_create_a_single_projection(database: Database) -> None:
    connections = await asyncio.gather(*(asyncpg.connect(database.url("projector")) for _ in range(4)))
    try:
        await asyncio.gather(
            *(
                epoch.create_projection(connection, Epoch(f"{number}" * 16), HERE, lanes_from_start(3))
                for number, connection in enumerate(connections)
            )
        )
        rows = await connections[0].fetch("select epoch from projection union all select epoch from lane")
        assert len(rows) == 4
        assert len({row["epoch"] for row in rows}) == 1
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))


async def test_projection_is_known_on_the_server_that_it_names(
    connection: Connection,
) -> None:
    projection = await epoch.read_projection(connection)
    assert projection == (EPOCH, False, 3)
    here = await epoch.read_server_identity(connection)
    assert len(here.timeline) == 8
    await epoch.change_epoch(connection, EPOCH, EPOCH, here)
    assert await epoch.read_projection(connection) == (EPOCH, True, 3)


async def test_quarantined_record_keeps_its_bytes(connection: Connection) -> None:
    record = QuarantineRow("transfers", Lane(2), Offset(7), None, b"\x00\xff", b"\x90", Millis(5), "bad")
    await batch_writes.insert_quarantined(connection, [record, record._replace(key=b"", value=None)])
    rows = await connection.fetch("select key, value, header_bytes, state from quarantine order by id")
    assert [tuple(row) for row in rows] == [
        (None, b"\x00\xff", b"\x90", "held"),
        (b"", None, b"\x90", "held"),
    ]
