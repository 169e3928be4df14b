"""The oracles. They look after each step and each event of a client; `convergence` looks after the faults.

O1: no acknowledged record is lost. O2: each is applied once. O3: money is conserved. O4: the frames of each
client chain. O5: nothing is invented. O6: a position never goes back within an epoch. O7: a read after a
revision returns at least this revision. O8: everything converges, and a replay gives the same accounts. O9: a
lane has applied all that was written before the time that it is complete as of. O12: what cannot go on is
halted. O13: rights end in time. "ended": no process ends by itself.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import UNSET

from livebalance.client.account import MissedRevisions
from livebalance.client.event import Changed, Ended, Event
from livebalance.projector.fold.account import Account
from livebalance.projector.fold.lane import LaneStep
from livebalance.readmodel.rows import BalanceRow, BatchRows, LaneMove
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import Snapshot
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Epoch, Lane, Position
from livebalance.wire.kafka.raw_record import Rejected
from livebalance.wire.kafka.record import Transfer, rejection_reason
from livebalance.wire.money import parse_money
from tests.simulation.world.codec import JSON
from tests.simulation.world.projector import MAX_REJECTS
from tests.simulation.world.servers.kafka import BALANCES, TRANSFERS, Log, Record
from tests.simulation.world.servers.tables import Tables, balance_view, transfer_view

if TYPE_CHECKING:
    from tests.simulation.world.client import Client
    from tests.simulation.world.gateway import Gateway
    from tests.simulation.world.world import World


EXPIRY_MS = 1500  # within which a connection is closed after its token has expired
FIRST_BALANCES_ID = UUID(int=2)


class OracleError(AssertionError):
    """An oracle's finding. `oracle` is its name."""

    def __init__(self, oracle: str, text: str) -> None:
        super().__init__(f"{oracle}: {text}")
        self.oracle = oracle


class Oracles:
    """Keeps what each client has shown."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._shown: dict[tuple[str, AccountId], Position] = {}
        self._rejects: dict[tuple[Lane, Epoch, int, str], int] = {}  # consecutive, by claim and topic
        self.checked = 0  # records of Kafka
        self._versions: dict[tuple[UUID, bytes | None], tuple[int, set[str]]] = {}  # of balances, with ids

    # --- clients

    def forget(self, client: "Client") -> None:
        """A client that starts anew shows nothing."""
        for key in [key for key in self._shown if key[0] == client.name]:
            del self._shown[key]

    def on_event(self, client: "Client", event: Event, *, may_miss: bool) -> None:
        """Checks an event of a client. `may_miss`: frames of its connection may not chain."""
        if isinstance(event, Changed):
            self._check_chain(client, event)
            self._check_invention(event)
            self._check_read(event.account.position, event.account.account)
        elif isinstance(event, MissedRevisions) and not may_miss:
            raise OracleError("O4", f"a gateway left out what is before {event}")
        elif isinstance(event, Ended):
            self._shown.pop((client.name, event.account), None)

    def _check_chain(self, client: "Client", event: Changed) -> None:
        account, position, frame = event.account.account, event.account.position, event.frame
        before = self._shown.get((client.name, account))
        if isinstance(frame, Snapshot):
            if before is not None and before.epoch == position.epoch:
                if position.revision < before.revision:
                    raise OracleError("O6", f"{account} went back from {before} to {position}")
                if frame.gap is UNSET and not self._was_erased(account, before, position):
                    raise OracleError("O4", f"a snapshot of {account} leaves out a gap after {before}")
        elif before != Position(Epoch(frame.epoch), frame.from_):
            raise OracleError("O4", f"{account} at {before} was changed by a delta from {frame.from_}")
        self._shown[client.name, account] = position

    def _was_erased(self, account: AccountId, after: Position, upto: Position) -> bool:
        row = self._world.postgres.balances_at.get((upto.epoch, account, upto.revision))
        return row is not None and row.erased_revision > after.revision

    def _check_invention(self, event: Changed) -> None:
        """Everything that a frame shows was committed at that revision."""
        postgres, frame = self._world.postgres, event.frame
        account, epoch = event.account.account, event.account.position.epoch
        for transfer in frame.transfers:
            row = postgres.transfers_at.get((epoch, account, transfer.revision))
            if row is None or transfer_view(row) != transfer:
                raise OracleError("O5", f"{transfer} of {account} was never committed in {epoch}")
        if frame.balance is not UNSET and frame.balance is not None:
            stored = postgres.balances_at.get((epoch, account, frame.balance.revision))
            if stored is None or balance_view(stored) != frame.balance:
                raise OracleError("O5", f"{frame.balance} of {account} was never committed in {epoch}")

    def _check_read(self, position: Position, account: AccountId) -> None:
        """A read of Postgres now returns at least what a client shows."""
        postgres = self._world.postgres
        if postgres.is_known and postgres.tables.epoch == position.epoch:
            row = postgres.tables.balances.get(account)
            if (row.revision if row else 0) < position.revision:
                raise OracleError("O7", f"{account} is shown at {position}, and a read has {row}")

    def after_tick(self, gateway: "Gateway") -> None:
        """No connection outlives its token."""
        wall = self._world.wall
        for socket in gateway.sockets.values():
            if socket.close_code is None and socket.expires + EXPIRY_MS < wall:
                raise OracleError(
                    "O13", f"{socket.client.name} is connected at {wall}, after {socket.expires}"
                )

    # --- recorders

    def after_write(self) -> None:
        """The balances of an account count its transfers, each once, whether a lane is halted or not.

        Called after each step, if records are unchecked.
        """
        written = self._world.kafka.written
        while self.checked < len(written):
            record, transaction, topic_id = written[self.checked]
            if transaction is not None and transaction.is_open:
                return
            self.checked += 1
            if record.topic == BALANCES and (transaction is None or transaction.committed):
                self._check_version(record, topic_id)

    def _check_version(self, record: Record, topic_id: UUID) -> None:
        account = (topic_id, record.key)
        if record.value is None:
            self._versions.pop(account, None)
            return
        balance = JSON.decode_balance(record.value)
        version, names = self._versions.get(account, (-1, set()))
        if balance.account in self._world.contradicted:
            return
        if version < 0 and topic_id != FIRST_BALANCES_ID:
            pass  # a batch that was under way when the topic was created anew
        elif balance.version != version + 1 or balance.transfer_id in names:
            raise OracleError("O2", f"{balance} follows version {version} and {sorted(names)}")
        self._versions[account] = balance.version, names | {balance.transfer_id}

    def on_recorded(self, log: Log, start: int, records: Sequence[Record]) -> None:
        """A recorder that moves on from `start` has read all that was written from there on."""
        offsets = {record.offset for record in records}
        for record in self._world.kafka.written_to(log, start):
            if record.offset < records[-1].offset and record.offset not in offsets:
                raise OracleError("O1", f"the recorder of {log.name} has not read {record}")

    # --- projectors

    def before_commit(self, moves: Iterable[LaneMove]) -> None:
        """A halted lane goes on only if an operator lets it continue."""
        for move in moves:
            why = self._world.postgres.tables.lanes[move.lane].row.halted_why
            if why is not None and move.halted_why is None:
                raise OracleError("O12", f"lane {move.lane} is halted ({why}) and goes on with {move}")

    def on_progress(self, moves: Iterable[LaneMove]) -> None:
        """A lane that is complete as of a time has applied all that was written before."""
        for move in moves:
            for topic, upto in ((TRANSFERS, move.transfers_to), (BALANCES, move.balances_to)):
                log = self._world.kafka.log(topic, move.lane)
                for record, transaction, _ in log.entries:
                    late = transaction is not None and not transaction.committed
                    if not late and record.offset >= upto and record.timestamp < (move.as_of or 0):
                        raise OracleError("O9", f"{move} is complete as of a time after that of {record}")

    def after_commit(self, rows: BatchRows) -> None:
        """No transfer is skipped, none is listed twice, and money is conserved."""
        tables, contradicted = self._world.postgres.tables, self._world.contradicted
        listed = {account: [row.transfer_id for row in of_it] for account, of_it in tables.transfers.items()}
        for move in rows.moves:
            for record in self._read_by(move):
                transfer = admissible(record)
                if transfer is not None and transfer.account not in contradicted:
                    times = listed.get(transfer.account, []).count(transfer.id)
                    if times != 1 and transfer.account not in rows.erased and not self._is_erased(record):
                        name = "O2" if times else "O1"
                        raise OracleError(name, f"{transfer} is in SQL {times} times after {move}")
        for row in rows.balances:
            if row.account not in contradicted and row.drift is not None and row.balance is not None:
                _check_drift(row)

    def _is_erased(self, record: Record) -> bool:
        """Returns whether an erasure covers a transfer."""
        topic_id = self._world.kafka.topics[TRANSFERS].id
        return record.offset < self._world.erased_before.get((topic_id, record.key), 0)

    def on_replay(self, live: Tables, shadow: Tables) -> None:
        """A replay up to the same offsets gives the same accounts, whatever compaction has removed.

        It may remove why an account was disputed, and a balance whose successor the lane has yet to read.
        Openings, and what is listed, stay.
        """
        for account in live.balances.keys() | shadow.balances.keys():
            lane = Lane(self._world.lane_of(account))
            row = live.lanes[lane].row
            if row.lifecycle_next < shadow.lanes[lane].row.lifecycle_next:
                continue  # the replay has applied openings or erasures that the projection has not
            has_balance = (
                account not in self._world.contradicted
                and self._world.kafka.log(BALANCES, lane).last < row.balances_next
            )
            stored, replayed = (_facts(tables, account, has_balance) for tables in (live, shadow))
            if stored != replayed:
                raise OracleError("O8", f"a replay of {account} gives {replayed}, SQL has {stored}")

    def _read_by(self, move: LaneMove) -> list[Record]:
        log, upto = self._world.kafka.log(TRANSFERS, move.lane), move.transfers_to
        if move.transfers_from == upto:
            return []
        if log.topic_id != self._world.postgres.tables.lanes[move.lane].row.transfers_topic_id:
            return []  # the batch is of a topic that was deleted meanwhile
        return [
            record
            for record, transaction, _ in log.entries
            if move.transfers_from <= record.offset < upto and (transaction is None or transaction.committed)
        ]

    def on_batch(self, lane_step: LaneStep) -> None:
        """A lane that quarantines too many records of a topic in a row must halt."""
        if not self._world.poison:
            return
        lane, move = lane_step.lane, lane_step.move
        for record in lane_step.records:
            key = (lane.lane, move.epoch, move.generation, record.raw.topic)
            rejected = isinstance(record.content, Rejected)
            self._rejects[key] = self._rejects.get(key, 0) + 1 if rejected else 0
            if self._rejects[key] > MAX_REJECTS:
                raise OracleError("O12", f"{record} is rejected, and lane {lane.lane} does not halt")


def _facts(tables: Tables, account: AccountId, has_balance: bool) -> tuple[object, ...]:
    """Returns what each replay must give, also of an account without a row."""
    row = tables.balances.get(account)
    if row is None:
        row = Account(account, Lane(0)).row(INITIAL_REVISION, None, INITIAL_REVISION)
    transfers = tables.transfers.get(account, ())
    listed = [(each.transfer_id, Decimal(each.amount), Decimal(each.total)) for each in transfers]
    facts = _value(row.opening), Decimal(row.posted_total), row.transfer_count, listed
    if not has_balance:
        return facts
    amounts = map(_value, (row.balance, row.half_applied, row.drift))
    is_disputed = row.disputed_since is not None
    return *facts, *amounts, row.version, row.transfer_id, row.client_id, is_disputed


def _value(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def _check_drift(row: BalanceRow) -> None:
    balance, half_applied, opening, posted = (
        _amount(amount or "0") for amount in (row.balance, row.half_applied, row.opening, row.posted_total)
    )
    if row.drift is None or _amount(row.drift).unscaled:
        raise OracleError("O2", f"{row.account} has a drift: {row}")
    if not balance.add(half_applied).same_value(opening.add(posted)):
        raise OracleError("O3", f"{row.account} does not conserve money: {row}")


def admissible(record: Record) -> Transfer | None:
    """Returns the transfer in a record, if it is one that must be applied."""
    return _admissible(record.key, record.value or b"")


@lru_cache(1000)
def _admissible(key: bytes | None, value: bytes) -> Transfer | None:
    try:
        transfer = JSON.decode_transfer(value)
    except DecodeError:
        return None
    return None if rejection_reason(transfer, key) else transfer


_amount = lru_cache(1000)(parse_money)
