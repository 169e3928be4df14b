"""What has not arrived yet, and whether everything has arrived after the faults."""

from typing import TYPE_CHECKING

from livebalance.gateway.auth.revocations import Revocations
from livebalance.readmodel.rows import BalanceRow
from livebalance.wire.identity import AccountId, Lane, Position
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import ZERO, Money, parse_money
from livebalance.wire.views import TransferView
from tests.simulation.world.codec import JSON
from tests.simulation.world.oracles import OracleError, admissible
from tests.simulation.world.servers.kafka import BALANCES, LIFECYCLE, TRANSFERS, Log, Partition
from tests.simulation.world.servers.tables import balance_view, transfer_view

if TYPE_CHECKING:
    from tests.simulation.world.client import Client
    from tests.simulation.world.world import World

LOST, REVOKED = "lost records", "which was revoked"
REJECTED, RECREATED = "consecutive", "recreated"  # parts of reasons of halted lanes


class Convergence:
    """Compares the topics, SQL and what clients show."""

    def __init__(self, world: "World") -> None:
        self._world = world

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

    def is_recorded(self, lane: int) -> bool:
        """Returns whether the recorder of a lane is not halted and has read all transfers."""
        return not self.is_recorder_halted(lane) and self._waiting_recorder(lane) is None

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
        for name, topic_id in (
            (TRANSFERS, stored.row.transfers_topic_id),
            (BALANCES, stored.row.balances_topic_id),
        ):
            if topic_id not in (None, kafka.topics[name].id):
                return f"lane {lane} has not noticed that {name} was recreated"
        reason = self._unread(kafka.log(TRANSFERS, lane), stored.row.transfers_next)
        reason = reason or self._unread(kafka.log(BALANCES, lane), stored.row.balances_next)
        reason = reason or self._unread(kafka.log(LIFECYCLE, lane), stored.row.lifecycle_next)
        return reason and f"the projector {reason}"

    def _unread(self, log: Log, following: int) -> str | None:
        if self._lost(log, following):
            return f"has not noticed that {log.name} {LOST}"
        return f"has not applied {log.name}" if log.last >= following else None

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
        if not self._world.postgres.revocations:
            return False
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
            record.offset < log.first for record in self._world.kafka.written_to(log, following)
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
        transfers, openings = self._transfers(), self._openings()
        for account in self._world.accounts:
            self._check_account(account, transfers[account], openings.get(account.encode(), ZERO))

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

    def _check_account(self, account: AccountId, expected: list[Transfer], opening: Money) -> None:
        """SQL has each transfer that Kafka acknowledged once, in order, and the balance is their sum."""
        world, tables = self._world, self._world.postgres.tables
        if self.is_halted(world.lane_of(account)):
            return
        rows = tables.transfers.get(account, ())
        ids = [row.transfer_id for row in rows]
        for transfer in expected:
            if (times := ids.count(transfer.id)) != 1:
                raise OracleError("O2" if times else "O1", f"{transfer} is in SQL {times} times")
        if ids != [transfer.id for transfer in expected]:
            raise OracleError("O2", f"{account} lists {rows}, and the topic has {expected}")
        row = tables.balances.get(account)
        if row is not None:
            self._check_sum(account, row, expected, opening)

    def _check_sum(
        self, account: AccountId, row: BalanceRow, expected: list[Transfer], opening: Money
    ) -> None:
        total = ZERO
        for transfer in expected:
            total = total.add(transfer.amount)
        if row.balance is None and account in self._world.erased and not expected:
            return
        if row.opening is None or not parse_money(row.opening).same_value(opening):
            raise OracleError("O3", f"{account} was opened with {opening}: {row}")
        if account in self._world.contradicted and row.disputed_since is not None:
            return
        if row.balance is None or not parse_money(row.balance).same_value(opening.add(total)):
            raise OracleError("O2", f"{account} has {row.balance}: its transfers make {opening.add(total)}")
        if row.drift is None or parse_money(row.drift).unscaled or row.disputed_since is not None:
            raise OracleError("O3", f"{account} is not verified: {row}")

    def _openings(self) -> dict[bytes, Money]:
        """Returns, by key, the amount of the first balance since the last erasure."""
        openings: dict[bytes, Money | None] = {}
        for record, _, _ in self._world.kafka.committed(BALANCES):
            key = record.key or b""
            if record.value is None:
                openings.pop(key, None)
            elif openings.get(key) is None:
                balance = JSON.decode_balance(record.value)
                openings[key] = balance.amount if balance.version == 0 else None
        return {key: opening or ZERO for key, opening in openings.items()}

    def _transfers(self) -> dict[AccountId, list[Transfer]]:
        """Returns the transfers that Kafka has acknowledged since the last erasure, without duplicates."""
        transfers: dict[AccountId, dict[str, Transfer]] = {id_: {} for id_ in self._world.accounts}
        erased = self._world.erased
        for number, (record, transaction, _) in enumerate(self._world.kafka.written):
            if record.topic != TRANSFERS or not (transaction is None or transaction.committed):
                continue
            transfer = admissible(record)
            if transfer is not None and number >= erased.get(transfer.account, 0):
                transfers[transfer.account].setdefault(transfer.id, transfer)
        return {account: [*of_account.values()] for account, of_account in transfers.items()}
