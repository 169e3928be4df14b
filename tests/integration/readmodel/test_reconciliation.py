"""The statements that compare records of Kafka with rows."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import epoch, lane_writes
from livebalance.readmodel.reconciliation import differences, results
from livebalance.readmodel.reconciliation.differences import SPAN_OFFSETS, Span
from livebalance.readmodel.reconciliation.results import ComparedOffsets
from livebalance.readmodel.rows import (
    Differences,
    Finding,
    HourRow,
    LaneStart,
    ServerIdentity,
    SqlTransfer,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.servers.database import Database

LANE, CUT, TOPIC = Lane(0), Lane(1), "transfers"
OWNER = LaneOwner(LANE, 1)
A, B = AccountId("a"), AccountId("b")
HOUR = Millis(3_600_000)
FILL = """
update lane set transfers_next = 40 where lane = 0;
insert into balance (account_id, revision, lane, posted_total, transfer_count, recorded_at, erased_revision,
                     erased_offset)
values ('a', 9, 0, 0, 3, 'epoch', 0, null), ('b', 9, 0, 0, 1, 'epoch', 4, 20);
insert into transfer (account_id, revision, transfer_id, amount, total, occurred_at, recorded_at, topic, lane,
                      source_offset)
values ('a', 1, 't-1', 1.50, 0, 'epoch', '1970-01-01 01:00:00Z', 'transfers', 0, 11),
       ('a', 2, 't-2', 2.50, 0, 'epoch', 'epoch', 'transfers', 0, 12),
       ('a', 3, 't-3', 'NaN', 0, 'infinity', '-infinity', 'transfers', 0, 13),
       ('b', 4, 't-4', 4, 0, 'epoch', 'epoch', 'transfers', 0, 14),
       ('b', 5, 't-5', 5, 0, 'epoch', 'epoch', 'transfers', 0, 15),
       ('a', 6, 'other lane', 5, 0, 'epoch', 'epoch', 'transfers', 1, 15);
insert into quarantine (topic, partition, source_offset, kafka_time, reason, state, rejected_by)
values ('transfers', 0, 16, 'epoch', '', 'held', 'projector'),
       ('transfers', 0, 17, 'epoch', '', 'held', 'recorder');
"""


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A connection as `projector` to a projection with two lanes. It owns lane 0."""
    connection = await asyncpg.connect(database.url("projector"))
    starts = [
        LaneStart(LANE, Offset(0), Offset(0), True),
        LaneStart(CUT, Offset(70), Offset(0), False),
    ]
    await epoch.create_projection(connection, Epoch("0123456789abcdef"), ServerIdentity("1", "1"), starts)
    await lane_writes.claim_lane(connection, LANE, "projector")
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL)
    await owner.close()
    yield connection
    await connection.close()


def transfer(account: AccountId, id_: str, unscaled: int, scale: int = 2) -> Transfer:
    return Transfer(TransferId(id_), account, Money(unscaled, scale), 0)


def row(
    offset: int, unscaled: int | None, revision: int, scale: int = 2, at: int = 0, *, same: bool = True
) -> SqlTransfer:
    amount = None if unscaled is None else Money(unscaled, scale)
    return SqlTransfer(Offset(offset), amount, Millis(at), Revision(revision), same)


async def test_only_records_and_rows_that_are_not_plainly_equal_are_returned(connection: Connection) -> None:
    records = [
        (Offset(11), transfer(A, "t-1", 15, 1)),  # equal, with another scale
        (Offset(13), transfer(A, "t-3", 300)),
        (Offset(14), transfer(B, "t-4", 400)),
        (Offset(15), transfer(B, "t-5", 500)),
        (Offset(16), None),
        (Offset(17), None),
        (Offset(18), transfer(A, "t-1", 150)),
        (Offset(19), transfer(AccountId("c"), "t-1", 1)),
    ]
    findings = await differences.find_differences(
        connection, TOPIC, Span(LANE, Offset(0), Offset(20)), records
    )
    a, b = (Revision(0), None, False), (Revision(4), Offset(20), False)
    assert sorted(findings, key=lambda finding: finding.offset or 0) == [
        Finding(None, A, TransferId("t-2"), row(12, 250, 2, same=False), None, *a),
        Finding(Offset(13), A, TransferId("t-3"), row(13, None, 3, same=False), None, *a),
        Finding(Offset(14), B, TransferId("t-4"), row(14, 4, 4, scale=0), None, *b),
        Finding(Offset(15), B, TransferId("t-5"), row(15, 5, 5, scale=0), None, *b),
        Finding(Offset(16), None, None, None, "held"),
        Finding(Offset(17), None, None, None),
        Finding(Offset(18), A, TransferId("t-1"), row(11, 150, 1, at=HOUR), None, *a),
        Finding(Offset(19), AccountId("c"), TransferId("t-1"), None),
    ]


async def test_lane_begins_at_its_start_and_a_cut_lane_where_it_is(connection: Connection) -> None:
    assert await results.compared_offsets(connection, LANE) == ComparedOffsets(
        Offset(0), Offset(0), Offset(0)
    )
    at = Offset(70)
    assert await results.compared_offsets(connection, CUT) == ComparedOffsets(at, at, at)
    assert await results.compared_offsets(connection, CUT) == ComparedOffsets(at, at, at)


async def test_lane_that_was_set_back_begins_again(connection: Connection) -> None:
    await results.compared_offsets(connection, LANE)
    counted = HourRow(HOUR, 3, "1.50", 2, "-0.25", 1, 0, 0, 1, 0, 0, 0)
    await results.add_newest(connection, Span(LANE, Offset(0), Offset(40)), [counted])
    assert (await results.compared_offsets(connection, LANE)).compared_next == 40
    await connection.execute("update lane set transfers_next = 39 where lane = 0")
    assert (await results.compared_offsets(connection, LANE)).compared_next == 0
    assert await connection.fetch("select from reconciliation") == []


async def test_former_owner_and_offsets_that_are_not_applied_are_noticed(connection: Connection) -> None:
    assert await differences.is_applied(connection, OWNER, Offset(40))
    assert not await differences.is_applied(connection, OWNER, Offset(41))
    assert not await differences.is_applied(connection, LaneOwner(LANE, 2), Offset(40))


async def test_newest_results_are_added_and_a_round_replaces_them(connection: Connection) -> None:
    await results.compared_offsets(connection, LANE)
    counted = HourRow(HOUR, 3, "1.50", 2, "-0.25", 1, 0, 0, 1, 0, 0, 0)
    first = Span(LANE, Offset(0), Offset(10))
    await results.add_newest(connection, first, [counted])
    await results.add_newest(connection, Span(LANE, Offset(10), Offset(20)), [counted])
    query = "select hour, kafka_records, kafka_sum::text, sql_sum::text, missing from reconciliation"
    [[hour, *counts]] = await connection.fetch(query)
    assert (hour.timestamp(), counts) == (3600, [6, "3.00", "-0.50", 2])
    await results.replace_range(connection, Span(LANE, Offset(0), Offset(20)), [counted])
    assert (await connection.fetch(query))[0]["missing"] == 1
    assert (await results.compared_offsets(connection, LANE))[1:] == (20, 0)
    await results.begin_round(connection, LANE)
    assert (await results.compared_offsets(connection, LANE))[1:] == (20, 20)
    assert Span(LANE, Offset(SPAN_OFFSETS + 5), Offset(SPAN_OFFSETS + 9)).first_offset == SPAN_OFFSETS


LATE = """
update balance set half_applied_since = now() - interval '1 minute', half_applied = 1 where account_id = 'a';
update balance set half_applied_since = now() - interval '1 second', half_applied = 1 where account_id = 'b';
"""


async def test_late_accounts_count_until_a_balance_includes_their_transfers(connection: Connection) -> None:
    await results.compared_offsets(connection, LANE)
    await connection.execute(LATE)
    await results.note_late_accounts(connection, LANE, [A, B])
    await results.note_late_accounts(connection, LANE, [A, B])
    await results.summarize(connection, OWNER, newest_compared=True)
    read = await results.read_differences(connection, [LANE])
    assert read[:4] == (0, 0, 0, 0)
    assert (read.half_applied, read.half_applied_since is not None) == (1, True)
    await connection.execute("update balance set half_applied = 0, balance = 1")  # as an older release does
    await results.summarize(connection, OWNER)
    after = await results.read_differences(connection, [LANE])
    assert after == Differences(0, 0, 0, 0, read.compared_at, 0, None)


async def test_former_owner_stores_no_sums(connection: Connection) -> None:
    await results.compared_offsets(connection, LANE)
    counted = HourRow(HOUR, 3, "1.50", 2, "-0.25", 1, 0, 0, 1, 2, 3, 4)
    await results.add_newest(connection, Span(LANE, Offset(0), Offset(10)), [counted])
    await results.summarize(connection, LaneOwner(LANE, 7))
    assert (await results.read_differences(connection, [LANE]))[:4] == (0, 0, 0, 0)
    await results.summarize(connection, OWNER)
    assert (await results.read_differences(connection, [LANE]))[:4] == (1, 2, 3, 4)
