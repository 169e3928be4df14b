"""Mutants of the world: each removes a rule, and an oracle must find out.

Some rules are the world's, because the product lacks them or keeps them in a shell: their targets are
classes of this package. The others are rules of the product's pure core.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from livebalance.client import account as client_account
from livebalance.client.account import Account
from livebalance.gateway.live.channel import Channel
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.sessions import Sessions
from livebalance.gateway.live.users import Users
from livebalance.projector.fold import lane as projector_lane
from livebalance.projector.fold.records import Incoming
from livebalance.readmodel import rows
from livebalance.readmodel.gateway_reads import AccountState
from livebalance.readmodel.rows import LaneMove
from livebalance.recorder.halt import SourceCheck
from livebalance.recorder.ledger import NO_OFFSET
from livebalance.wire.frame import DeltaFrame
from livebalance.wire.identity import INITIAL_REVISION, Epoch, Lane, Offset, Position, channel_account
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.lifecycle import Erased, Opened
from livebalance.wire.kafka.raw_record import Rejected, decode_lifecycle
from livebalance.wire.kafka.source import Source
from tests.simulation.reads import ReadLimits, StoredAccount, StoredProjection, account_state
from tests.simulation.world import recorder as world_recorder
from tests.simulation.world.operator import Operator
from tests.simulation.world.projector import Projector, UnknownCommit
from tests.simulation.world.recorder import GROUP, Ownership, Recorder
from tests.simulation.world.servers import postgres as world_postgres
from tests.simulation.world.servers.kafka import BALANCES, Log, Record
from tests.simulation.world.servers.postgres import Postgres
from tests.simulation.world.servers.tables import Tables


class Mutant(NamedTuple):
    """What replaces a rule, the only oracles that may find it, and the faults that it needs."""

    target: object
    name: str
    replacement: object
    oracles: str  # names, separated by spaces
    faults: tuple[str, ...]


def _mutant(target: object, name: str, replacement: object, oracles: str, *faults: str) -> Mutant:
    return Mutant(target, name, replacement, oracles, faults)


def jump_over_deleted_history(self: Recorder, log: Log) -> int:
    committed = self.world.kafka.offsets.get((GROUP, log.name))
    return max(log.first, committed.offset if committed else 0)


def take_any_source(self: SourceCheck, source: Source | Offset | None) -> Offset:
    return NO_OFFSET if source is None else source.offset if isinstance(source, Source) else source


def find_no_reason(*_: object) -> None:
    pass


def take_for_granted(*_: object) -> bool:
    return True


def find_nothing(*_: object) -> tuple[()]:
    return ()


def read_across_erasures(
    projection: StoredProjection, account: StoredAccount, after: Position | None, limits: ReadLimits
) -> AccountState:
    account = account._replace(erased_revision=INITIAL_REVISION)
    return account_state(projection, account, after, limits)


READ_BALANCES = Recorder.read_balances


def read_balances_once(self: Recorder, ownership: Ownership) -> None:
    """Only a claim reads erasures."""
    if ownership.next_balance == self.world.kafka.log(BALANCES, ownership.number).first:
        READ_BALANCES(self, ownership)


def encode_header_names_as_text(headers: Headers) -> bytes:
    return "".join(name.decode() for name, _ in headers).encode()


def count_rejects_of_both_topics(
    records: Sequence[Incoming], rejects: Mapping[str, int], limit: int
) -> tuple[Sequence[Incoming], dict[str, int]]:
    count = rejects.get("", 0)
    for index, record in enumerate(records):
        count = count + 1 if isinstance(record.content, Rejected) else 0
        if count > limit:
            return records[:index], {"": count}
    return records, {"": count}


def publish_before_commit(self: Projector, messages: Any) -> None:
    self.world.redis.publish(messages)


def fence_without_generation(self: Postgres, move: LaneMove) -> bool:
    row = self.tables.lanes[move.lane].row
    return (row.epoch, row.transfers_next, row.balances_next) == (
        move.epoch,
        move.transfers_from,
        move.balances_from,
    )


def assume_that_it_was_committed(self: Projector, batch: UnknownCommit, lost: Exception) -> None:
    pass


def relay_whatever_arrives(self: Channel, frame: Frame) -> bool:
    self.position = frame.after
    return True


def apply_without_checking_from(state: Account | None, frame: DeltaFrame) -> Account:
    position = Position(Epoch(frame.epoch), frame.to)
    return client_account._apply_next(state or Account(channel_account(frame.channel), position), frame)


LIFECYCLE_RECORDS = Operator.lifecycle_records


def replay_without(ignored: type) -> Callable[[Operator, Lane], list[Record]]:
    def lifecycle_records(self: Operator, lane: Lane) -> list[Record]:
        records = LIFECYCLE_RECORDS(self, lane)
        return [record for record in records if not isinstance(decode_lifecycle(record), ignored)]

    return lifecycle_records


MOVE_ACCOUNTS = Tables.move_accounts


def forget_bounds_only(self: Tables, number: Lane) -> Tables:
    return MOVE_ACCOUNTS(self, number)._replace(moved={})


MUTANTS: dict[str, Mutant] = {
    # Rules that the world has and the product lacks, or lacked when this was written.
    "a recorder does not jump over deleted history": _mutant(
        Recorder, "start_offset", jump_over_deleted_history, "O1", "retention"
    ),
    "the source of a balance is of this topic": _mutant(
        SourceCheck, "offset", take_any_source, "O2", "another topic"
    ),
    "added partitions halt a recorder": _mutant(
        world_recorder, "partitions_reason", find_no_reason, "O2", "partitions"
    ),
    "header names are any bytes": _mutant(
        rows, "encode_headers", encode_header_names_as_text, "ended", "odd bytes"
    ),
    "an erasure reaches the recorder": _mutant(
        Recorder, "read_balances", read_balances_once, "O2", "erasure"
    ),
    "a replay knows openings that were compacted": _mutant(
        Operator, "lifecycle_records", replay_without(Opened), "O8", "lifecycle"
    ),
    "a replay knows erasures that were compacted": _mutant(
        Operator, "lifecycle_records", replay_without(Erased), "O8", "lifecycle"
    ),
    "offsets of a former topic say nothing": _mutant(
        Tables, "move_accounts", forget_bounds_only, "O2", "another topic", "lifecycle"
    ),
    # Rules of the shells, which the world repeats.
    "a delta is published after the commit": _mutant(
        Projector, "before_commit", publish_before_commit, "O5 O7", "commit in doubt", "failover", "pause"
    ),
    "the fence compares generations": _mutant(Postgres, "holds", fence_without_generation, "O12", "zombie"),
    "a claim drops the batch that was read ahead": _mutant(
        Projector, "drop_ahead", find_no_reason, "O1 O2", "failover"
    ),
    "a lane is complete up to the batch that is applied": _mutant(
        Projector, "may_write_progress", take_for_granted, "O9", "pause"
    ),
    "the outcome of a commit is read": _mutant(
        Projector, "on_unknown_commit", assume_that_it_was_committed, "O5", "commit in doubt"
    ),
    # Rules of the pure core.
    "rejects are counted by topic": _mutant(
        projector_lane, "limit_consecutive_rejects", count_rejects_of_both_topics, "O12", "poison"
    ),
    "a gateway relays only the next delta": _mutant(
        Channel, "_advance", relay_whatever_arrives, "O4", "redis messages"
    ),
    "a state from before an erasure is replaced": _mutant(
        world_postgres, "account_state", read_across_erasures, "O8", "erasure", "redis"
    ),
    "revoked accounts are unsubscribed": _mutant(
        Sessions, "_unsubscribe_hidden", find_no_reason, "O13", "rights"
    ),
    "a connection ends with its token": _mutant(Users, "_set_deadlines", find_nothing, "O13", "rights"),
    "a client applies a delta only at its `from`": _mutant(
        client_account, "_apply_delta", apply_without_checking_from, "O4", "frames"
    ),
}
