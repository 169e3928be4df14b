"""The model of the gateway's statements, which the simulations use, answers as the statements do."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg
import pytest

from livebalance.gateway.live.content import RelayedContent
from livebalance.gateway.live.outbox import Frame
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.gateway_reads import (
    AccountQuery,
    AccountState,
    ContentDigest,
    LaneProgress,
    SkippedRange,
)
from livebalance.wire.delta import DeltaParts, encode_delta_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Position, Revision, TransferId
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, balance_json, format_source, transfers_json
from tests.servers.database import Database
from tests.simulation.reads import (
    ReadLimits,
    StoredAccount,
    StoredProjection,
    StoredTransfer,
    account_state,
    audit_finding,
)

EPOCH, OTHER_EPOCH = Epoch("00000000000000a1"), Epoch("00000000000000b2")
START = datetime(2026, 11, 28, tzinfo=UTC)
LIMITS = ReadLimits(max_revisions=40, page_transfers=7, snapshot_transfers=gateway_reads.SNAPSHOT_TRANSFERS)
LANES = {
    Lane(0): LaneProgress(Millis(1_795_000_000_123), None),
    Lane(1): LaneProgress(Millis(1_795_000_000_456), "history was lost"),
    Lane(2): LaneProgress(None, None),
}


class Account(NamedTuple):
    """An account whose even revisions are transfers."""

    revision: int
    lane: int = 0
    erased: int = 0  # revision of the last erasure
    deleted: int = 0  # up to this revision, erased transfers are deleted
    has_balance: bool = True


ACCOUNTS = {
    AccountId("opened"): Account(1),
    AccountId("short"): Account(9),
    AccountId("unknown-as-of"): Account(9, lane=2),
    AccountId("without-balance"): Account(12, has_balance=False),
    AccountId("long"): Account(150, lane=1),
    AccountId("erased"): Account(30, erased=30, deleted=11),
    AccountId("erased-and-deleted"): Account(30, erased=30, deleted=30),
    AccountId("lives-again"): Account(60, lane=1, erased=30, deleted=11),
    AccountId("long-after-erasure"): Account(200, erased=30),
}
ABSENT = AccountId("absent")
CLIENT = 'ä€😀 "quoted" \\ / \b\f\n\r\t\x01\x1f\x7f\u2028 </script>'
DISPUTED = "2026-11-28T00:00:00.120Z"


def at(revision: int) -> datetime:
    return START + timedelta(milliseconds=1001 * revision)


def millis(time: datetime) -> Millis:
    return Millis((time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))


def transfer(account: Account, revision: int) -> StoredTransfer:
    total = str(revision - account.erased)
    occurred = format_rfc3339(millis(at(revision)))
    source = format_source("transfers", Lane(account.lane), Offset(revision))
    name = TransferId(f"t-{revision}")
    return StoredTransfer(
        TransferView(name, "2", total, occurred, Revision(revision), source), millis(at(revision))
    )


def balance(account: Account) -> BalanceView | None:
    if not account.has_balance or account.revision == account.erased:
        return None
    return BalanceView(
        "1.50", "EUR", 3, Revision(account.revision), TransferId("t-2"), CLIENT, "0.50", None, "0", DISPUTED
    )


def stored(account: Account) -> StoredAccount:
    transfers = [
        transfer(account, revision)
        for revision in range(2, account.revision + 1, 2)
        if revision > account.erased
    ]
    return StoredAccount(
        Revision(account.revision),
        Lane(account.lane),
        millis(at(account.revision)),
        balance(account),
        transfers,
        Revision(account.erased),
    )


async def insert(connection: Connection, id_: AccountId, account: Account) -> None:
    view, kept = balance(account), stored(account)
    columns = {
        "account_id": id_,
        "revision": account.revision,
        "lane": account.lane,
        "balance": view and view.amount,
        "scale": view and 2,
        "currency": view and view.currency,
        "version": view and view.version,
        "transfer_id": view and view.transfer_id,
        "client_id": view and view.client_id,
        "opening": view and view.opening,
        "half_applied": view and view.half_applied,
        "disputed_since": view and datetime.fromisoformat(DISPUTED),
        "drift": view and view.drift,
        "posted_total": "0",
        "transfer_count": len(kept.transfers),
        "recorded_at": at(account.revision),
        "erased_revision": account.erased,
        "deleted_revision": account.deleted,
    }
    numeric = {"balance", "opening", "half_applied", "drift", "posted_total"}
    values = [f"${n}::text::numeric" if name in numeric else f"${n}" for n, name in enumerate(columns, 1)]
    await connection.execute(
        f"insert into balance ({', '.join(columns)}) values ({', '.join(values)})", *columns.values()
    )
    for revision in range(2, account.revision + 1, 2):
        if revision > account.deleted:
            await connection.execute(
                "insert into transfer values ($1, $2, $3, 2, $4, $5, $5, 'transfers', $6, $7)",
                id_,
                revision,
                f"t-{revision}",
                revision - account.erased,
                at(revision),
                account.lane,
                revision,
            )


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[Connection]:
    """A connection as a gateway to a database with the accounts."""
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(
        f"insert into projection select true, '{EPOCH}', system_identifier, timeline, 3 from server_identity"
    )
    for number, lane in LANES.items():
        as_of = None if lane.as_of is None else datetime.fromisoformat(format_rfc3339(lane.as_of))
        await owner.execute(
            "insert into lane (lane, transfers_next, balances_next, generation, epoch, from_start, as_of,"
            " halted_why) values ($1, 0, 0, 1, $2, true, $3, $4)",
            number,
            EPOCH,
            as_of,
            lane.halted_why,
        )
    for id_, account in ACCOUNTS.items():
        await insert(owner, id_, account)
    connection = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    yield connection
    await connection.close()
    await owner.close()


def queries() -> list[AccountQuery]:
    """Returns queries from no position, from each position, from the future, and from another epoch."""
    positions = {
        id_: [Position(EPOCH, Revision(n)) for n in range(account.revision + 3)]
        for id_, account in {**ACCOUNTS, ABSENT: Account(0)}.items()
    }
    return [
        AccountQuery(id_, after)
        for id_, known in positions.items()
        for after in (None, Position(OTHER_EPOCH, Revision(1)), *known)
    ]


@pytest.mark.parametrize("has_all_lanes", [True, False])
async def test_model_of_reads_answers_as_the_statement(
    gateway: Connection, database: Database, has_all_lanes: bool
) -> None:
    lanes = dict(LANES)
    if has_all_lanes:
        lanes[Lane(2)] = LaneProgress(Millis(1_795_000_000_789), None)
        owner = await asyncpg.connect(database.url("owner"))
        await owner.execute("update lane set as_of = to_timestamp(1795000000.789) where lane = 2")
        await owner.close()
    projection = StoredProjection(EPOCH, 3, lanes)
    asked = queries()
    answers = await gateway_reads.read_accounts(gateway, asked, LIMITS.max_revisions, LIMITS.page_transfers)
    for query, answer in zip(asked, answers, strict=True):
        account = stored(ACCOUNTS[query.account]) if query.account in ACCOUNTS else StoredAccount()
        assert account_state(projection, account, query.after, LIMITS) == answer, query


async def test_model_of_audits_answers_as_the_statement(gateway: Connection) -> None:
    revisions = {id_: Revision(account.revision) for id_, account in ACCOUNTS.items()}
    projection = StoredProjection(EPOCH, 3, LANES)
    for off in (-1, 0, 1):
        expected = {
            id_: Position(EPOCH, Revision(max(0, revisions.get(id_, 0) + off))) for id_ in (*ACCOUNTS, ABSENT)
        }
        finding = await gateway_reads.read_audit(gateway, expected)
        assert audit_finding(projection, revisions, expected) == finding


def relayed(state: AccountState, id_: AccountId, since: Revision) -> ContentDigest:
    """Returns the digest of a delta with everything that was read of an account after the revision."""
    content = RelayedContent(id_, since)
    parts = DeltaParts(
        EPOCH,
        since,
        state.revision,
        state.recorded_at,
        balance_json(state.balance),
        transfers_json(state.transfers),
    )
    before, after = Position(EPOCH, since), Position(EPOCH, state.revision)
    content.add(Frame(id_, before, after, encode_delta_frame(id_, parts)))
    return content.begin_audit(state.revision)


async def test_audit_finds_equal_content_in_what_was_read(gateway: Connection) -> None:
    for since in (0, 3, 8):
        asked = [AccountQuery(id_, Position(EPOCH, Revision(since))) for id_ in ACCOUNTS]
        states = await gateway_reads.read_accounts(gateway, asked, 1000, 1000)
        digests = {
            query.account: relayed(state, query.account, Revision(since))
            for query, state in zip(asked, states, strict=True)
            if state.continues and state.revision > since
        }
        expected = {id_: Position(EPOCH, Revision(ACCOUNTS[id_].revision)) for id_ in digests}
        assert len(digests) >= 4
        assert not (await gateway_reads.read_audit(gateway, expected, digests)).different
        wrongs = (
            {id_: digest._replace(transfers=b"") for id_, digest in digests.items()},
            {id_: digest._replace(balance=b"") for id_, digest in digests.items()},
        )
        for wrong in wrongs:
            finding = await gateway_reads.read_audit(gateway, expected, wrong)
            assert finding.different == digests.keys()
            assert not finding.revisions


async def test_audit_compares_a_balance_only_at_its_own_revision(gateway: Connection) -> None:
    id_ = AccountId("short")
    (state,) = await gateway_reads.read_accounts(gateway, [AccountQuery(id_, at_revision(3))], 1000, 1000)
    before = state._replace(revision=Revision(8), transfers=state.transfers, balance=None)
    digest = relayed(before, id_, Revision(3))
    finding = await gateway_reads.read_audit(gateway, {id_: at_revision(8)}, {id_: digest})
    assert (finding.revisions, finding.different) == ({id_: 9}, frozenset())
    finding = await gateway_reads.read_audit(gateway, {id_: at_revision(6)}, {id_: digest})
    assert finding.different == {id_}


async def test_audit_compares_neither_revisions_nor_a_balance_that_a_snapshot_brought(
    gateway: Connection,
) -> None:
    id_, wrong = AccountId("short"), SkippedRange(Revision(5), Revision(6))
    (state,) = await gateway_reads.read_accounts(gateway, [AccountQuery(id_, at_revision(3))], 1000, 1000)
    skipped = (SkippedRange(Revision(5), Revision(5)), SkippedRange(Revision(7), Revision(8)))
    rest = [transfer for transfer in state.transfers if transfer.revision not in (5, 7, 8)]
    assert 0 < len(rest) < len(state.transfers)
    digest = relayed(state._replace(transfers=rest), id_, Revision(3))._replace(balance=None)
    for ranges, different in ((skipped, False), ((), True), ((wrong, skipped[1]), True)):
        digests = {id_: digest._replace(skipped=ranges)}
        finding = await gateway_reads.read_audit(gateway, {id_: at_revision(9)}, digests)
        assert finding.different == ({id_} if different else set())


async def test_audit_finds_content_from_before_an_erasure(gateway: Connection) -> None:
    id_ = AccountId("erased")
    digest = ContentDigest(Revision(29), b"", b"")
    finding = await gateway_reads.read_audit(gateway, {id_: at_revision(30)}, {id_: digest})
    assert finding.different == {id_}
    finding = await gateway_reads.read_audit(gateway, {id_: at_revision(29)}, {id_: digest})
    assert not finding.different  # the read that follows finds the erasure


def at_revision(revision: int) -> Position:
    return Position(EPOCH, Revision(revision))
