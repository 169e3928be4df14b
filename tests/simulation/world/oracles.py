"""The oracles. They look after each step and each event of a client, and at everything after the faults.

O1: no acknowledged record is lost. O2: each is applied once. O3: money is conserved. O4: the frames of each
client chain. O5: nothing is invented. O6: a position never goes back within an epoch. O7: a read after a
revision returns at least this revision. O8: everything converges. O12: what cannot go on is halted. O13:
rights end in time. "ended": no process ends by itself.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import UNSET

from livebalance.client.account import MissedRevisions
from livebalance.client.event import Changed, Ended, Event
from livebalance.gateway.auth.revocations import Revocations
from livebalance.projector.fold.lane import LaneStep
from livebalance.readmodel.rows import BalanceRow, BatchRows, LaneMove
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import Snapshot
from livebalance.wire.identity import AccountId, Epoch, Lane, Position
from livebalance.wire.kafka.codec import JSON
from livebalance.wire.kafka.raw_record import Rejected
from livebalance.wire.kafka.record import Transfer, rejection_reason
from livebalance.wire.money import ZERO, Money, parse_money
from livebalance.wire.views import TransferView
from tests.simulation.world.projector import MAX_REJECTS
from tests.simulation.world.servers.kafka import BALANCES, TRANSFERS, Log, Partition, Record
from tests.simulation.world.servers.tables import balance_view, transfer_view

if TYPE_CHECKING:
    from tests.simulation.world.client import Client
    from tests.simulation.world.gateway import Gateway
    from tests.simulation.world.world import World


EXPIRY_MS = 1500  # within which a connection is closed after its token has expired
FIRST_BALANCES_ID = UUID(int=2)
LOST, REVOKED = "lost records", "which was revoked"
REJECTED, RECREATED = "consecutive", "recreated"  # parts of reasons of halted lanes


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
        self._checked = 0  # records of Kafka
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

    def after_step(self) -> None:
        """The balances of an account count its transfers, each once, whether a lane is halted or not."""
        written = self._world.kafka.written
        while self._checked < len(written):
            record, transaction, topic_id = written[self._checked]
            if transaction is not None and transaction.is_open:
                return
            self._checked += 1
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
        for record in self._written_to(log, start):
            if record.offset < records[-1].offset and record.offset not in offsets:
                raise OracleError("O1", f"the recorder of {log.name} has not read {record}")

    def _written_to(self, log: Log, start: int) -> Iterator[Record]:
        """Returns the records that a log had from `start` on, whether they were deleted or not."""
        for record, transaction, topic_id in self._world.kafka.written:
            if (
                (record.topic, record.partition, topic_id) == (*log.name, log.topic_id)
                and start <= record.offset
                and (transaction is None or transaction.committed)
            ):
                yield record

    # --- projectors

    def before_commit(self, moves: Iterable[LaneMove]) -> None:
        """A halted lane goes on only if an operator lets it continue."""
        for move in moves:
            why = self._world.postgres.tables.lanes[move.lane].row.halted_why
            if why is not None and move.halted_why is None:
                raise OracleError("O12", f"lane {move.lane} is halted ({why}) and goes on with {move}")

    def after_commit(self, rows: BatchRows) -> None:
        """No transfer is skipped, none is listed twice, and money is conserved."""
        tables, contradicted = self._world.postgres.tables, self._world.contradicted
        for move in rows.moves:
            for record in self._read_by(move):
                transfer = _admissible(record)
                if transfer is not None and transfer.account not in contradicted:
                    listed = tables.transfers.get(transfer.account, ())
                    times = sum(row.transfer_id == transfer.id for row in listed)
                    if times != 1 and transfer.account not in rows.erased:
                        name = "O2" if times else "O1"
                        raise OracleError(name, f"{transfer} is in SQL {times} times after {move}")
        for row in rows.balances:
            if row.account not in contradicted and row.drift is not None and row.balance is not None:
                _check_drift(row)

    def _read_by(self, move: LaneMove) -> list[Record]:
        log, upto = self._world.kafka.log(TRANSFERS, move.lane), move.transfers_to
        if log.topic_id != self._world.postgres.tables.lanes[move.lane].row.transfers_topic_id:
            return []  # the batch is of a topic that was deleted meanwhile
        return [
            entry.record
            for entry in log.entries
            if move.transfers_from <= entry.record.offset < upto and entry.committed
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

    # --- the end

    def waiting(self) -> str | None:
        """Returns what has not arrived yet."""
        world = self._world
        if world.feed.made < world.shape.transfers or world.feed.unsent is not None:
            return "the feed has not written all transfers"
        for lane in range(world.kafka.partitions(TRANSFERS)):
            if reason := self.waiting_lane(lane):
                return reason
        if world.operator.requests:
            return f"the operator has yet to do {world.operator.requests}"
        return self._waiting_client()

    def waiting_lane(self, lane: int) -> str | None:
        """Returns what has not arrived yet of a lane. A lane that waits for an operator waits for nothing."""
        if self._is_continued(lane):
            return f"an operator lets lane {lane} continue"
        return self._waiting_recorder(lane) or self._waiting_projector(lane)

    def _waiting_recorder(self, lane: int) -> str | None:
        if self.is_recorder_halted(lane):
            return None
        kafka = self._world.kafka
        committed = kafka.offsets.get(("recorder", Partition(TRANSFERS, lane)))
        reason = self._unread(kafka.log(TRANSFERS, lane), committed.offset if committed else 0)
        return reason and f"the recorder {reason}"

    def _waiting_projector(self, lane: int) -> str | None:
        kafka, postgres = self._world.kafka, self._world.postgres
        stored = postgres.tables.lanes.get(Lane(lane))
        if stored is None or stored.row.halted_why is not None:
            return None
        if not postgres.is_known:
            return "the epoch has not changed"
        if kafka.partitions(TRANSFERS) != postgres.tables.partitions:
            return f"lane {lane} has not noticed that partitions were added"
        reason = self._unread(kafka.log(TRANSFERS, lane), stored.row.transfers_next)
        reason = reason or self._unread(kafka.log(BALANCES, lane), stored.row.balances_next)
        return reason and f"the projector {reason}"

    def _unread(self, log: Log, following: int) -> str | None:
        if self._lost(log, following):
            return f"has not noticed that {log.name} {LOST}"
        return f"has not applied {log.name}" if _last(log) >= following else None

    def _waiting_client(self) -> str | None:
        world, tables = self._world, self._world.postgres.tables
        for client in world.clients:
            for account in world.accounts:
                if account in client.hidden:
                    continue
                if self._is_revoked(client, account):
                    return f"{client.name} may still see {account}, {REVOKED}"
                row = tables.balances.get(account)
                state = client.session.account_state(account)
                if row is not None and row.balance is None and row.transfer_count == 0 and state is None:
                    continue
                expected = Position(tables.epoch, row.revision if row else 0)  # type: ignore[arg-type]
                if state is None or state.position != expected:
                    return f"{client.name} shows {account} at {state and state.position}, not {expected}"
        return None

    def _is_revoked(self, client: "Client", account: AccountId) -> bool:
        socket = client.socket
        rights = socket.session.rights if socket is not None and socket.session is not None else None
        revocations = Revocations()
        revocations.add(self._world.postgres.revocations)
        return rights is not None and revocations.hides(rights, account)

    def _lost(self, log: Log, following: int) -> bool:
        """Returns whether the log lacks records from `following` on that it had."""
        if log.first <= following <= log.end:
            return False
        return following > log.end or any(
            record.offset < log.first for record in self._written_to(log, following)
        )

    def _is_continued(self, lane: int) -> bool:
        """Returns whether an operator is about to let a halted lane continue."""
        postgres = self._world.postgres
        stored = postgres.tables.lanes.get(Lane(lane))
        reasons = postgres.recorder.halted_why(lane), stored.row.halted_why if stored is not None else None
        return any(map(self._world.is_continued, reasons))

    def is_recorder_halted(self, lane: int) -> bool:
        return self._world.postgres.recorder.halted_why(lane) is not None

    def is_halted(self, lane: int) -> bool:
        """Returns whether the lane waits for an operator."""
        stored = self._world.postgres.tables.lanes.get(Lane(lane))
        return self.is_recorder_halted(lane) or stored is None or stored.row.halted_why is not None

    def is_halted_for_good(self, lane: int) -> bool:
        return self.is_halted(lane) and not self._is_continued(lane)

    def check_end(self) -> None:
        if (waiting := self.waiting()) is not None:
            name = "O1" if LOST in waiting else "O13" if REVOKED in waiting else "O8"
            raise OracleError(name, f"after the faults ended: {waiting}")
        self._check_clients()
        for account in self._world.accounts:
            self._check_account(account)

    def _check_clients(self) -> None:
        """Every client shows what SQL has."""
        tables = self._world.postgres.tables
        for client in self._world.clients:
            for account in self._world.accounts:
                state, row = client.session.account_state(account), tables.balances.get(account)
                if state is None:
                    continue
                if state.balance != balance_view(row):
                    raise OracleError("O8", f"{client.name} shows {state.balance}, SQL has {row}")
                listed = [transfer_view(each) for each in tables.transfers.get(account, ())]
                shown: list[TransferView] = list(state.transfers)
                if shown != listed[len(listed) - len(shown) :]:
                    raise OracleError("O8", f"{client.name} shows {shown} of {account}, SQL has {listed}")

    def _check_account(self, account: AccountId) -> None:
        """SQL has each transfer that Kafka acknowledged once, in order, and the balance is their sum."""
        world, tables = self._world, self._world.postgres.tables
        expected, lane = self.transfers_of(account), world.lane_of(account)
        rows = tables.transfers.get(account, ())
        if self.is_halted(lane):
            return
        times = Counter(row.transfer_id for row in rows)
        for transfer in expected:
            if times[transfer.id] != 1:
                name = "O1" if not times[transfer.id] else "O2"
                raise OracleError(name, f"{transfer} is in SQL {times[transfer.id]} times")
        if [row.transfer_id for row in rows] != [transfer.id for transfer in expected]:
            raise OracleError("O2", f"{account} lists {rows}, and the topic has {expected}")
        row = tables.balances.get(account)
        if row is not None:
            self._check_sum(account, row, expected)

    def _check_sum(self, account: AccountId, row: BalanceRow, expected: list[Transfer]) -> None:
        opening, total = self.opening_of(account), ZERO
        for transfer in expected:
            total = total.add(transfer.amount)
        if account in self._world.contradicted and row.disputed_since is not None:
            return
        if row.balance is None and account in self._world.erased and not expected:
            return
        if row.balance is None or not parse_money(row.balance).same_value(opening.add(total)):
            raise OracleError("O2", f"{account} has {row.balance}: its transfers make {opening.add(total)}")
        if row.drift is None or parse_money(row.drift).unscaled or row.disputed_since is not None:
            raise OracleError("O3", f"{account} is not verified: {row}")

    def opening_of(self, account: AccountId) -> Money:
        """Returns the amount of the first balance since the last erasure."""
        opening: Money | None = None
        for record, _, _ in self._world.kafka.committed(BALANCES):
            if record.key == account.encode():
                if record.value is None:
                    opening = None
                elif opening is None:
                    balance = JSON.decode_balance(record.value)
                    opening = balance.amount if balance.version == 0 else None
        return opening or ZERO

    def transfers_of(self, account: AccountId) -> list[Transfer]:
        """Returns the account's transfers that Kafka has acknowledged, without duplicates."""
        transfers: dict[str, Transfer] = {}
        written = self._world.kafka.written[self._world.erased.get(account, 0) :]
        for record in [entry.record for entry in written if entry.committed]:
            if record.topic != TRANSFERS:
                continue
            transfer = _admissible(record)
            if transfer is not None and transfer.account == account:
                transfers.setdefault(transfer.id, transfer)
        return list(transfers.values())


def _check_drift(row: BalanceRow) -> None:
    balance, half_applied, opening, posted = (
        parse_money(amount or "0")
        for amount in (row.balance, row.half_applied, row.opening, row.posted_total)
    )
    if row.drift is None or parse_money(row.drift).unscaled:
        raise OracleError("O2", f"{row.account} has a drift: {row}")
    if not balance.add(half_applied).same_value(opening.add(posted)):
        raise OracleError("O3", f"{row.account} does not conserve money: {row}")


def _last(log: Log) -> int:
    """Returns the offset of the last committed record, -1 if there is none."""
    for record, transaction, _ in reversed(log.entries):
        if transaction is None or transaction.committed:
            return record.offset
    return -1


@lru_cache(1000)
def _admissible(record: Record) -> Transfer | None:
    try:
        transfer = JSON.decode_transfer(record.value or b"")
    except DecodeError:
        return None
    return None if rejection_reason(transfer, record.key) else transfer
