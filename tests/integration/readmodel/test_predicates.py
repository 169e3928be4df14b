"""Predicates of single statements: positions of a client, revocations, the quarantine."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from livebalance.readmodel import gateway_reads, quarantine, recorder_writes, revocations
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.gateway_reads import AccountQuery
from livebalance.readmodel.operator import projection_actions
from livebalance.readmodel.operator.projection_actions import LaneOffsets
from livebalance.readmodel.rows import QuarantineRow, ReplayOutcome
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Position, Revision
from livebalance.wire.timestamp import Millis
from tests.servers.database import Database

EPOCH, OTHER_EPOCH = Epoch("00000000000000a1"), Epoch("00000000000000b2")
ALICE, BOB = AccountId("alice"), AccountId("bob")
FILL = f"""
insert into projection select true, '{EPOCH}', system_identifier, timeline, 2 from server_identity;
insert into lane select n, 5, 6, 1, '{EPOCH}', true, null, null, null, null, null, now()
  from generate_series(0, 1) n;
insert into balance (account_id, revision, lane, opening, posted_total, transfer_count, recorded_at)
values ('alice', 3, 0, 0, 3, 3, now());
insert into transfer select 'alice', n, 't-' || n, 1, n, now(), now(), 'transfers', 0, n
  from generate_series(1, 3) n;
insert into quarantine (topic, partition, source_offset, key, kafka_time, reason, state)
values ('transfers', 0, 1, 'alice', now(), 'bad', 'replay'),
       ('transfers', 1, 2, 'bob', now(), 'bad', 'replay'),
       ('transfers', 0, 3, 'bob', now(), 'bad', 'held')
"""


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(FILL)
    yield connection
    await connection.close()


# --- positions of a client


async def read_after(database: Database, position: Position) -> tuple[bool, list[int]]:
    """Returns whether the answer continues the position, and the revisions of its transfers."""
    gateway = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    try:
        [state] = await gateway_reads.read_accounts(gateway, [AccountQuery(ALICE, position)], 100, 100)
    finally:
        await gateway.close()
    return state.continues, [transfer.revision for transfer in state.transfers]


async def test_position_of_this_epoch_gets_the_transfers_after_it(
    owner: Connection, database: Database
) -> None:
    assert await read_after(database, Position(EPOCH, Revision(2))) == (True, [3])


async def test_position_of_another_epoch_gets_the_newest_transfers(
    owner: Connection, database: Database
) -> None:
    assert await read_after(database, Position(OTHER_EPOCH, Revision(2))) == (False, [3, 2, 1])


async def test_position_ahead_of_postgres_gets_the_newest_transfers(
    owner: Connection, database: Database
) -> None:
    assert await read_after(database, Position(EPOCH, Revision(4))) == (False, [3, 2, 1])


async def test_projection_of_another_server_is_not_read(owner: Connection, database: Database) -> None:
    await owner.execute("update projection set timeline = 'FFFFFFFF'")
    with pytest.raises(gateway_reads.UnavailableError):
        await read_after(database, Position(EPOCH, Revision(2)))


# --- revocations


async def test_revocations_are_read_back_to_a_time(owner: Connection) -> None:
    for subject, hours in (("old", 2), ("new", 0)):
        await revocations.revoke(owner, subject, None, None, "a test")
        shift = "update revocation set at = at - $1::interval where subject = $2"
        await owner.execute(shift, timedelta(hours=hours), subject)
    recent = await revocations.read_page(owner, within=timedelta(hours=1))
    assert [revocation.subject for revocation in recent.revocations] == ["new"]
    assert len((await revocations.read_page(owner)).revocations) == 2


# --- the quarantine


async def states(owner: Connection) -> list[str]:
    return [row[0] for row in await owner.fetch("select state from quarantine order by id")]


async def test_owner_replays_marked_records_of_its_lanes(owner: Connection) -> None:
    rows = await quarantine.requested_replays(owner, [Lane(0)], 10)
    assert [row.id for row in rows] == [1]


async def test_replay_is_settled_once(owner: Connection) -> None:
    assert await quarantine.settle_replays(owner, [(1, ReplayOutcome("applied"))])
    assert not await quarantine.settle_replays(owner, [(1, ReplayOutcome("applied"))])


async def test_erasure_discards_records_of_its_account(owner: Connection) -> None:
    await quarantine.discard_erased(owner, [BOB])
    assert await states(owner) == ["replay", "erased", "erased"]


async def test_record_is_skipped_only_at_the_offsets_that_were_read(owner: Connection) -> None:
    record = QuarantineRow("transfers", Lane(0), Offset(5), None, b"", b"\x90", Millis(5), "bad", "skipped")
    becomes = LaneOffsets(Offset(6), Offset(6))

    async def skip(transfers: int, balances: int = 6) -> bool:
        was = LaneOffsets(Offset(transfers), Offset(balances))
        return await projection_actions.skip_record(owner, record, was, becomes, "a test")

    assert not await skip(5)  # the lane is not halted
    await owner.execute("update lane set halted_why = 'bad' where lane = 0")
    assert not await skip(4)
    assert not await skip(5, 5)
    assert await skip(5)
    assert not await skip(5)
    assert (await states(owner))[3:] == ["skipped"]


async def test_rejected_offsets_are_of_the_topic_that_is_read_now(owner: Connection) -> None:
    await owner.execute(
        "insert into recorder_lane (lane, partitions, transfers_id, balances_id) values (0, 2, 'a', 'b')"
    )
    for offset in (7, 8):
        record = QuarantineRow("transfers", Lane(0), Offset(offset), None, b"", b"\x90", Millis(5), "bad")
        await recorder_writes.insert_rejected(owner, [record])
    await owner.execute("update quarantine set held_at = held_at - interval '1 hour' where source_offset = 7")
    assert await recorder_writes.rejected_offsets(owner, "transfers", Lane(0), Offset(0)) == {8}


async def test_accounts_of_a_halted_lane_that_moves_are_marked_in_pieces(
    owner: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_actions, "PIECE", 2)
    await owner.execute(
        "insert into balance (account_id, revision, lane, posted_total, transfer_count, recorded_at)"
        " select 'account-' || n, n, n % 2, 0, 0, now() from generate_series(1, 9) n"
    )
    operator = await asyncpg.connect(database.url("operator"))
    try:
        await projection_actions.move_accounts(operator, Lane(0), UUID(int=7))
        assert not await owner.fetchval("select sum(moved_revision) from balance")  # lane 0 is not halted
        await owner.execute("update lane set halted_why = 'recreated', transfers_topic_id = $1", UUID(int=7))
        await projection_actions.move_accounts(operator, Lane(0), UUID(int=7))
        assert not await owner.fetchval("select sum(moved_revision) from balance")  # the topic is the same
        await projection_actions.move_accounts(operator, Lane(0), UUID(int=8))
    finally:
        await operator.close()
    rows = await owner.fetch("select account_id from balance where moved_revision = revision order by 1")
    assert [row[0] for row in rows] == ["account-2", "account-4", "account-6", "account-8", "alice"]
