"""Postgres as values: the tables that a projector writes, and the statements of projectors and gateways.

Each function stands for a statement of `livebalance.readmodel`, whose rows it returns. A lane's lock is held
from the statement that writes until the end of its transaction. A claim terminates the holder.
"""

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from livebalance.readmodel.gateway_reads import AccountQuery, AccountState, AuditFinding
from livebalance.readmodel.revocations import Revocation
from livebalance.readmodel.rows import (
    BalanceRow,
    BatchRows,
    LaneMove,
    ListedTransfer,
    SourceIdentity,
    StoredBalance,
    TransferRow,
)
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Epoch, Lane, Offset, Position, TransferId
from livebalance.wire.money import parse_money
from tests.simulation.reads import (
    ReadLimits,
    StoredAccount,
    StoredTransfer,
    account_state,
    audit_finding,
)
from tests.simulation.world.servers.kafka import ConnectionLostError, Log
from tests.simulation.world.servers.recorder_store import RecorderStore
from tests.simulation.world.servers.tables import (
    StoredLane,
    Tables,
    balance_view,
    moved_lane,
    new_lane,
    transfer_view,
)
from tests.unit.projector.memory_store import stored_balance

# So few transfers that a snapshot in place of deltas leaves transfers out.
LIMITS = ReadLimits(max_revisions=12, page_transfers=2, snapshot_transfers=3)
KEPT_COMMITS = 8

TransferKey = tuple[AccountId, TransferId]


class UnavailableError(Exception):
    """The server does not answer, or is not the server that the projection was written to."""


class FencedError(Exception):
    """Another process owns the lane or wrote the account."""


class AlreadyListedError(Exception):
    """A transfer is already listed."""


class Write:
    """A batch whose statements have run, and whose transaction is open."""

    __slots__ = ("is_terminated", "rows")

    def __init__(self, rows: BatchRows) -> None:
        self.rows, self.is_terminated = rows, False


class Postgres:
    """A primary. `timeline` increases with each failover, and `boot` whenever all connections end."""

    def __init__(self, identity: SourceIdentity) -> None:
        self.timeline = self.boot = 1
        self.is_down = False
        self.doubt: str | None = None  # outcome of the next commit, whose answer is lost: "done" or "lost"
        self.recorder = RecorderStore(self.check_up, identity)
        self.revocations: list[Revocation] = []
        self._epochs = 0
        self._writes: dict[Lane, Write] = {}
        self._past: list[Tables] = []
        # Every state that was ever committed, also those that a failover lost.
        self.balances_at: dict[tuple[Epoch, AccountId, int], BalanceRow] = {}
        self.transfers_at: dict[tuple[Epoch, AccountId, int], TransferRow] = {}
        epoch = self.new_epoch()
        rows = [new_lane(Lane(number), epoch, identity) for number in range(identity.partitions)]
        lanes = {row.lane: StoredLane(row, None) for row in rows}
        self.tables = Tables(epoch, 1, identity.partitions, lanes, {}, {}, (), {})

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
        self._begin_epoch(self.tables)

    def swap(self, shadow: Tables) -> None:
        """Puts the accounts of a shadow in the place of those of this projection, in a new epoch."""
        accounts = self.tables._replace(
            balances=shadow.balances, transfers=shadow.transfers, quarantine=shadow.quarantine, moved={}
        )
        self._begin_epoch(accounts)

    def _begin_epoch(self, tables: Tables) -> None:
        self.terminate_all()
        epoch = self.new_epoch()
        lanes = {
            number: lane._replace(row=lane.row._replace(epoch=epoch), as_of=None)
            for number, lane in tables.lanes.items()
        }
        self._commit(tables._replace(epoch=epoch, timeline=self.timeline, lanes=lanes))
        self._keep(self.tables, self.tables.balances)

    def claim(self, number: Lane, lifecycle_id: UUID) -> StoredLane:
        self.check_up()
        if (holder := self._writes.pop(number, None)) is not None:
            holder.is_terminated = True
        lane = self.tables.lanes[number]
        row = lane.row
        lane = lane._replace(
            row=row._replace(
                generation=row.generation + 1, lifecycle_topic_id=row.lifecycle_topic_id or lifecycle_id
            )
        )
        self.set_lane(lane)
        return lane

    def _keep(self, tables: Tables, accounts: Iterable[AccountId]) -> None:
        """Keeps the state of accounts for the oracles."""
        for account in accounts:
            row = tables.balances[account]
            self.balances_at[tables.epoch, account, row.revision] = row
            for transfer in tables.transfers.get(account, ()):
                self.transfers_at[tables.epoch, account, transfer.revision] = transfer

    def set_lane(self, lane: StoredLane) -> None:
        """Writes a lane as an operator does."""
        self._commit(self.tables._replace(lanes={**self.tables.lanes, lane.row.lane: lane}))

    def continue_lane(self, number: Lane) -> None:
        lane = self.tables.lanes[number]
        self.set_lane(lane._replace(row=lane.row._replace(halted_why=None)))

    def restart_lane(self, transfers: Log, balances: Log) -> None:
        """Lets a lane read its topics from their first records, in a new epoch."""
        self.change_epoch()
        number = Lane(transfers.name.number)
        stored = self.tables.lanes[number]
        if stored.row.transfers_topic_id != transfers.topic_id:
            self._commit(self.tables.move_accounts(number))
        row = stored.row._replace(
            transfers_next=Offset(transfers.first),
            balances_next=Offset(balances.first),
            transfers_last=None,
            transfers_fingerprint=None,
            balances_last=None,
            balances_fingerprint=None,
            transfers_topic_id=transfers.topic_id,
        )
        self.set_lane(stored._replace(row=row))

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
            lanes[move.lane] = moved_lane(lanes[move.lane], move)
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
        self._commit(self.tables.apply(write.rows))
        self._keep(self.tables, {row.account for row in write.rows.balances})
        if outcome is not None:
            raise ConnectionLostError

    def stored_balances(self, accounts: Iterable[AccountId]) -> list[StoredBalance]:
        self.check_up()
        rows = self.tables.balances
        return [stored_balance(rows[account]) for account in accounts if account in rows]

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

    def listed_since(self, since: Mapping[AccountId, Offset]) -> list[TransferRow]:
        self.check_up()
        rows = (row for account in since for row in self.tables.transfers.get(account, ()))
        listed = (
            row
            for row in rows
            if row.source_offset >= since[row.account]
            and row.revision > self.tables.moved.get(row.account, INITIAL_REVISION)
        )
        return sorted(listed, key=lambda row: row.source_offset)

    # --- a gateway's statements

    def check_known(self) -> None:
        self.check_up()
        if not self.is_known:
            raise UnavailableError

    def read_account(self, query: AccountQuery) -> AccountState:
        self.check_known()
        tables, account = self.tables, StoredAccount()
        if (row := tables.balances.get(query.account)) is not None:
            transfers = [
                StoredTransfer(transfer_view(each), each.recorded_at)
                for each in tables.transfers.get(query.account, ())
            ]
            account = StoredAccount(
                row.revision, row.lane, row.recorded_at, balance_view(row), transfers, row.erased_revision
            )
        return account_state(tables.stored, account, query.after, LIMITS)

    def read_audit(self, expected: Mapping[AccountId, Position]) -> AuditFinding:
        self.check_known()
        revisions = {account: row.revision for account, row in self.tables.balances.items()}
        return audit_finding(self.tables.stored, revisions, expected)

    def read_revocations(self) -> list[Revocation]:
        self.check_up()
        return list(self.revocations)
