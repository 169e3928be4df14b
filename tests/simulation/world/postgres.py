"""Postgres as values: the tables that a projector writes, and the statements of projectors and gateways.

Each function stands for a statement of `livebalance.readmodel`, whose rows it returns. A lane's lock is held
from the statement that writes until the end of its transaction. A claim terminates the holder.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from livebalance.readmodel.gateway_reads import AccountQuery, AccountState, AuditFinding, LaneProgress
from livebalance.readmodel.rows import (
    BalanceRow,
    BatchRows,
    LaneMove,
    LaneRow,
    ListedTransfer,
    QuarantineRow,
    StoredBalance,
    TransferRow,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Position, Revision, TransferId
from livebalance.wire.money import Money, parse_money
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, format_source
from tests.simulation.world.kafka import TRANSFERS, ConnectionLostError

SNAPSHOT_TRANSFERS = 3  # so few that a snapshot in place of deltas leaves transfers out
PAGE_TRANSFERS = 2
MAX_REVISIONS = 12
KEPT_COMMITS = 8

Identity = tuple[str, str, int]
TransferKey = tuple[AccountId, TransferId]


class UnavailableError(Exception):
    """The server does not answer, or is not the server that the projection was written to."""


class FencedError(Exception):
    """Another process owns the lane or wrote the account."""


class AlreadyListedError(Exception):
    """A transfer is already listed."""


class RecorderLane(NamedTuple):
    """The topics that a recorder began a partition with, and why the partition is halted."""

    identity: Identity
    halted_why: str | None


class StoredLane(NamedTuple):
    """A lane: its row, its times, and the topics that it began with."""

    row: LaneRow
    as_of: Millis | None
    identity: Identity


class Tables(NamedTuple):
    """The projection at a moment. Its parts are never changed, so that any moment can come back."""

    epoch: Epoch
    timeline: int  # of the server that the projection was written to
    lanes: Mapping[Lane, StoredLane]
    balances: Mapping[AccountId, BalanceRow]
    transfers: Mapping[AccountId, tuple[TransferRow, ...]]
    quarantine: tuple[QuarantineRow, ...]


class Write:
    """A batch whose statements have run, and whose transaction is open."""

    __slots__ = ("is_terminated", "rows")

    def __init__(self, rows: BatchRows) -> None:
        self.rows, self.is_terminated = rows, False


class Postgres:
    """A primary. `timeline` increases with each failover, and `boot` whenever all connections end."""

    def __init__(self, lanes: int, identity: Identity) -> None:
        self.timeline = self.boot = 1
        self.is_down = False
        self.doubt: str | None = None  # outcome of the next commit, whose answer is lost: "done" or "lost"
        self.recorder_lanes = {number: RecorderLane(identity, None) for number in range(lanes)}
        self._epochs = 0
        self._writes: dict[Lane, Write] = {}
        self._past: list[Tables] = []
        # Every state that was ever committed, also those that a failover lost.
        self.balances_at: dict[tuple[Epoch, AccountId, int], BalanceRow] = {}
        self.transfers_at: dict[tuple[Epoch, AccountId, int], TransferRow] = {}
        epoch = self.new_epoch()
        self.tables = Tables(
            epoch,
            1,
            {
                Lane(n): StoredLane(
                    LaneRow(Lane(n), 0, epoch, Offset(0), Offset(0), None, None, None, None, None, True),
                    None,
                    identity,
                )
                for n in range(lanes)
            },
            {},
            {},
            (),
        )

    def new_epoch(self) -> Epoch:
        self._epochs += 1
        return Epoch(f"{self._epochs:016x}")

    @property
    def is_known(self) -> bool:
        return self.tables.timeline == self.timeline

    def _commit(self, tables: Tables) -> None:
        self._past = [*self._past[1 - KEPT_COMMITS :], self.tables]
        self.tables = tables

    def fail_over(self, lost: int) -> None:
        """Promotes a standby that lacks the last commits. Every open transaction ends."""
        self.timeline += 1
        for _ in range(min(lost, len(self._past))):
            self.tables = self._past.pop()
        self.end_connections()

    def end_connections(self) -> None:
        self.boot += 1
        self.terminate_all()

    def terminate_all(self) -> None:
        """Rolls back every open transaction."""
        for write in self._writes.values():
            write.is_terminated = True
        self._writes.clear()

    # --- a projector's connection

    def check_up(self) -> None:
        if self.is_down:
            raise UnavailableError

    def check_server(self) -> None:
        """Changes the epoch if this is another server, as each new connection of a projector does."""
        self.check_up()
        if not self.is_known:
            self.change_epoch()

    def change_epoch(self) -> None:
        self.terminate_all()
        epoch, tables = self.new_epoch(), self.tables
        lanes = {
            number: lane._replace(row=lane.row._replace(epoch=epoch), as_of=None)
            for number, lane in tables.lanes.items()
        }
        self._commit(tables._replace(epoch=epoch, timeline=self.timeline, lanes=lanes))
        self._keep(self.tables)

    def claim(self, number: Lane) -> StoredLane:
        self.check_up()
        if (holder := self._writes.pop(number, None)) is not None:
            holder.is_terminated = True
        lane = self.tables.lanes[number]
        lane = lane._replace(row=lane.row._replace(generation=lane.row.generation + 1))
        self._commit(self.tables._replace(lanes={**self.tables.lanes, number: lane}))
        return lane

    def replace(self, tables: Tables) -> None:
        """Puts a rebuilt projection in the place of this one."""
        self.terminate_all()
        self._commit(tables)
        self._keep(tables)

    def _keep(self, tables: Tables) -> None:
        for account, row in tables.balances.items():
            self.balances_at[tables.epoch, account, row.revision] = row
        for account, rows in tables.transfers.items():
            self.transfers_at.update(((tables.epoch, account, row.revision), row) for row in rows)

    def set_lane(self, lane: StoredLane) -> None:
        """Writes a lane as an operator does."""
        self._commit(self.tables._replace(lanes={**self.tables.lanes, lane.row.lane: lane}))

    def holds(self, move: LaneMove) -> bool:
        """Returns whether the lane's fence holds (docs/guarantees.md#fence)."""
        row = self.tables.lanes[move.lane].row
        return (row.generation, row.epoch, row.transfers_next, row.balances_next) == (
            move.generation,
            move.epoch,
            move.transfers_from,
            move.balances_from,
        )

    def move_lanes(self, moves: Iterable[LaneMove]) -> None:
        self.check_up()
        lanes = dict(self.tables.lanes)
        for move in moves:
            if move.lane in self._writes:  # waits for the lock, which its holder does not release in time
                raise ConnectionLostError
            if not self.holds(move):
                raise FencedError
            lanes[move.lane] = _moved(lanes[move.lane], move)
        self._commit(self.tables._replace(lanes=lanes))

    def write(self, rows: BatchRows) -> Write:
        """Runs the statements of a batch in a transaction, which holds the locks of its lanes."""
        self.check_up()
        for move in rows.moves:
            if move.lane in self._writes:
                raise ConnectionLostError
            if not self.holds(move):
                raise FencedError
        for row in rows.balances:
            stored = self.tables.balances.get(row.account)
            if row.from_ != (stored.revision if stored else 0):
                raise FencedError
        for transfer in rows.transfers:
            if transfer.account not in rows.erased and any(
                other.transfer_id == transfer.transfer_id
                for other in self.tables.transfers.get(transfer.account, ())
            ):
                raise AlreadyListedError
        write = Write(rows)
        self._writes.update((move.lane, write) for move in rows.moves)
        return write

    def abort(self, write: Write) -> None:
        """Ends the transaction of a process that was killed."""
        if not write.is_terminated:
            for move in write.rows.moves:
                self._writes.pop(move.lane, None)
            write.is_terminated = True

    def commit(self, write: Write) -> None:
        """Commits a batch. If the connection is lost, the outcome is unknown to the caller."""
        outcome, self.doubt = self.doubt, None
        if write.is_terminated or self.is_down or outcome == "lost":
            self.abort(write)
            raise ConnectionLostError
        self.abort(write)
        self._commit(self._written(write.rows))
        if outcome is not None:
            raise ConnectionLostError

    def _written(self, rows: BatchRows) -> Tables:
        tables = self.tables
        lanes, balances, transfers = dict(tables.lanes), dict(tables.balances), dict(tables.transfers)
        for move in rows.moves:
            lanes[move.lane] = _moved(lanes[move.lane], move)
        for account in rows.erased:
            transfers[account] = ()
        for row in rows.balances:
            balances[row.account] = row
            self.balances_at[tables.epoch, row.account, row.revision] = row
        for transfer in rows.transfers:
            transfers[transfer.account] = (*transfers.get(transfer.account, ()), transfer)
            self.transfers_at[tables.epoch, transfer.account, transfer.revision] = transfer
        quarantine = tables.quarantine + tuple(rows.quarantined)
        return tables._replace(lanes=lanes, balances=balances, transfers=transfers, quarantine=quarantine)

    def stored_balances(self, accounts: Iterable[AccountId]) -> list[StoredBalance]:
        self.check_up()
        rows = self.tables.balances
        return [_stored(rows[account]) for account in accounts if account in rows]

    def listed_transfers(self, keys: Collection[TransferKey]) -> dict[TransferKey, ListedTransfer]:
        self.check_up()
        return {
            (account, row.transfer_id): ListedTransfer(
                parse_money(row.amount), row.occurred_at, parse_money(row.total)
            )
            for account in {key[0] for key in keys}
            for row in self.tables.transfers.get(account, ())
            if (account, row.transfer_id) in keys
        }

    # --- a gateway's statements

    def check_known(self) -> None:
        self.check_up()
        if not self.is_known:
            raise UnavailableError

    def read_account(self, query: AccountQuery) -> AccountState:
        """Returns what `_ACCOUNTS` returns for one account."""
        self.check_known()
        tables, after = self.tables, query.after
        row = tables.balances.get(query.account)
        revision = row.revision if row else 0
        continues = (
            after is not None
            and after.epoch == tables.epoch
            and 0 <= revision - after.revision <= MAX_REVISIONS
        )
        rows: Iterable[TransferRow] = tables.transfers.get(query.account, ())
        limit = SNAPSHOT_TRANSFERS
        if after is not None and continues:
            rows, limit = [each for each in rows if each.revision > after.revision], PAGE_TRANSFERS
        else:
            rows = tuple(rows)[::-1]
        listed = list(rows)
        more = len(listed) > limit
        recorded_at = row.recorded_at if row else Millis(0)
        return AccountState(
            epoch=tables.epoch,
            revision=Revision(revision),
            lane=row.lane if row else None,
            as_of=tables.lanes[row.lane].as_of if row else self._oldest_as_of(),
            recorded_at=listed[limit - 1].recorded_at if continues and more else recorded_at,
            balance=balance_view(row),
            transfers=[transfer_view(each) for each in listed[:limit]],
            continues=continues,
            more=more,
            erased=row is not None and row.balance is None and row.transfer_count == 0,
        )

    def _oldest_as_of(self) -> Millis | None:
        times = [lane.as_of for lane in self.tables.lanes.values()]
        known = [time for time in times if time is not None]
        return min(known) if len(known) == len(times) else None

    def read_audit(self, expected: Mapping[AccountId, Position]) -> AuditFinding:
        """Returns what `_AUDIT` returns."""
        self.check_known()
        tables = self.tables
        revisions = {
            account: row.revision if (row := tables.balances.get(account)) else Revision(0)
            for account in expected
        }
        return AuditFinding(
            tables.epoch,
            len(tables.lanes),
            {number: LaneProgress(lane.as_of, lane.row.halted_why) for number, lane in tables.lanes.items()},
            {a: revision for a, revision in revisions.items() if revision != expected[a].revision},
        )


def _moved(lane: StoredLane, move: LaneMove) -> StoredLane:
    row = lane.row
    as_of = move.as_of if lane.as_of is None else max(lane.as_of, move.as_of or lane.as_of)
    return lane._replace(
        row=row._replace(
            transfers_next=move.transfers_to,
            balances_next=move.balances_to,
            transfers_last=row.transfers_last if move.transfers_last is None else move.transfers_last,
            transfers_fingerprint=move.transfers_fingerprint or row.transfers_fingerprint,
            balances_last=row.balances_last if move.balances_last is None else move.balances_last,
            balances_fingerprint=move.balances_fingerprint or row.balances_fingerprint,
            halted_why=move.halted_why,
        ),
        as_of=as_of,
    )


def _money(text: str | None) -> Money | None:
    return None if text is None else parse_money(text)


def _stored(row: BalanceRow) -> StoredBalance:
    return StoredBalance(
        row.account,
        row.revision,
        row.lane,
        _money(row.balance),
        row.version,
        row.transfer_id,
        row.client_id,
        _money(row.opening),
        parse_money(row.posted_total),
        row.transfer_count,
        _money(row.half_applied),
        row.unverified_since,
        row.disputed_since,
        row.disputed_why,
        row.transfers_offset,
        row.balances_offset,
        row.recorded_at,
        row.opening_known,
        row.erased_transfers_before,
        row.erased_balances_before,
        row.half_applied_since,
        row.erased_offset,
    )


def balance_view(row: BalanceRow | None) -> BalanceView | None:
    """Returns a balance as a gateway reads it."""
    if row is None or row.balance is None:
        return None
    assert row.version is not None
    assert row.transfer_id is not None
    assert row.client_id is not None
    return BalanceView(
        row.balance,
        row.currency,
        row.version,
        row.revision,
        row.transfer_id,
        row.client_id,
        row.opening,
        row.half_applied,
        row.drift,
        None if row.disputed_since is None else format_rfc3339(row.disputed_since),
    )


def transfer_view(row: TransferRow) -> TransferView:
    """Returns a transfer as a gateway reads it."""
    return TransferView(
        row.transfer_id,
        row.amount,
        row.total,
        format_rfc3339(row.occurred_at),
        row.revision,
        format_source(TRANSFERS, row.lane, row.source_offset),
    )
