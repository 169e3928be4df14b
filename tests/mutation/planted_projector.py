"""Planted mutants of the projector: the order of a claim and of a commit, and as of when a lane is complete.

Two rules have their mutants in tests/acceptance/end_to_end/projector_mutants.py, too.
"""

from typing import Any

from livebalance.projector import projector
from livebalance.projector.fold import lane as lane_module
from livebalance.projector.fold.fold import _Fold
from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.projector.kafka.lifecycle import LifecycleConsumer
from livebalance.projector.postgres import claim, store
from livebalance.projector.projector import Projector
from livebalance.projector.read_ahead import ReadAhead
from livebalance.readmodel.rows import LaneMove
from tests.mutation.planted import Planted, attribute, code

_DOUBT = "tests/integration/projector/test_commit_in_doubt.py::"
_BEFORE_COMMIT = f"{_DOUBT}test_nothing_is_published_or_committed_to_the_group_before_the_commit"
_TOPICS = "tests/integration/projector/test_topic_identity.py::"
_POSTGRES = "tests/integration/projector/test_postgres.py::"
_ERASED = "tests/unit/projector/test_erasure.py::"
_AHEAD = "tests/integration/projector/test_read_ahead.py::"
_COMPLETE = "tests/unit/projector/test_lane_complete_as_of.py::"

_CLAIM = """\
    lanes = {id_: owned_lane(await store.claim_lane(id_, ids), *names) for id_ in assigned}
    await halt_changed_topics(lanes.values(), identities, store)
    states = await consumer.partition_states(lanes) if lanes else {}
"""
_STATES = "    states = await consumer.partition_states(assigned) if assigned else {}\n"
_WRITE = """\
        with metrics.batch_seconds.labels("write").time():
            kept = await self._store.write(rows)
"""
_PUBLISH = "        await self._publisher.publish((await encoding)[0])\n"
_COMMIT_OFFSETS = """\
        for lane_step in steps:
            lane_step.advance_lane()
        await self._consumer.commit([lane_step.lane for lane_step in steps])
"""


def was_committed_by_anybody(move: LaneMove, lane: OwnedLane | None) -> bool:
    return lane is not None and (lane.transfers.next, lane.balances.next) == (
        move.transfers_to,
        move.balances_to,
    )


async def change_nothing(*_: Any) -> list[OwnedLane]:
    return []


PROJECTOR = (
    Planted(
        "a projector reads Kafka's offsets after it has fenced the previous owner",
        "tests/integration/projector/test_claim_order.py::"
        "test_claim_compares_offsets_that_kafka_has_after_the_fence",
        code(
            projector,
            "claim_lanes",
            _CLAIM,
            _STATES + _CLAIM.replace(_CLAIM.splitlines(keepends=True)[2], ""),
        ),
        "^AssertionError: assert .*'0: .* ends at 1 but 2 comes next",
    ),
    Planted(
        "a projector compares the topics before it fetches",
        f"{_TOPICS}test_topic_created_again_with_more_records_halts_all_lanes",
        attribute(claim, "halt_changed_topics", change_nothing),
        r"^AssertionError: assert \['t'\] == \[\]",
    ),
    Planted(
        "a lane reads its openings and erasures first",
        "tests/integration/projector/test_lifecycle.py::"
        "test_transfers_erased_before_the_claim_are_never_listed",
        code(
            LifecycleConsumer,
            "assign",
            "if lane.lifecycle.next < end[partition]:",
            "if lane.lifecycle.next > end[partition]:",
        ),
        r"^AssertionError: assert \(4, 5\) == \(1, 2\)",
    ),
    Planted(
        "a batch is published after its commit",
        _BEFORE_COMMIT,
        code(Projector, "_write", _WRITE, _PUBLISH + _WRITE),
        "^AssertionError: assert 4 == 3",
    ),
    Planted(
        "offsets are committed to the group after the commit",
        _BEFORE_COMMIT,
        code(Projector, "_write", _WRITE, _COMMIT_OFFSETS + _WRITE),
        r"^AssertionError: assert \{'[0-9a-f]{16}'\} == \{'[0-9a-f]{16}'\}",
    ),
    Planted(
        "a claim drops the batch that was read ahead",
        f"{_AHEAD}test_batch_read_ahead_is_read_again_after_the_batch_before_it_failed",
        attribute(ReadAhead, "aclose", change_nothing),
        "^AssertionError: ",
    ),
    Planted(
        "a lane that halts applies nothing that was read ahead",
        f"{_AHEAD}test_batch_read_ahead_of_a_lane_that_halts_is_not_applied",
        code(Projector, "_steps", "reading.get(lane_id)", "(self._lanes or {}).get(lane_id)"),
        "^AssertionError: ",
    ),
    Planted(
        "a batch in doubt is published by the owner that committed it",
        f"{_DOUBT}test_batch_in_doubt_is_not_published_after_another_owner_came_between",
        attribute(projector, "_was_committed", was_committed_by_anybody),
        "^AssertionError: assert 4 == 3",
    ),
    Planted(
        "offsets of the group that are ahead of Postgres change the epoch",
        f"{_POSTGRES}test_lost_commits_change_the_epoch_and_are_read_again",
        attribute(claim, "_check_lost_commits", change_nothing),
        "^AssertionError: assert '[0-9a-f]{16}' != ",
    ),
    Planted(
        "offsets of the group count in their epoch",
        f"{_POSTGRES}test_group_offset_of_another_epoch_is_ignored",
        code(claim, "_check_lost_commits", "state.epoch == lane.epoch and ", ""),
        r"^AssertionError: assert \{'[0-9a-f]{16}'\} == \{'[0-9a-f]{16}'\}",
    ),
    Planted(
        "another timeline changes the epoch",
        f"{_POSTGRES}test_other_timeline_changes_the_epoch",
        code(store, "check_server_identity", "if not projection.known:", "if not projection:"),
        "^AssertionError: assert '[0-9a-f]{16}' != ",
    ),
    Planted(
        "a projector reads committed records",
        "tests/integration/projector/test_projection.py::test_record_of_an_aborted_transaction_is_not_applied",
        code(
            LaneConsumer,
            "__init__",
            'isolation_level="read_committed"',
            'isolation_level="read_uncommitted"',
        ),
        r"^AssertionError: assert \['aborted', 't-1'\] == \['t-1'\]",
    ),
    Planted(
        "a lane is complete as of a time at which the topics were compared",
        f"{_TOPICS}test_lane_is_never_complete_as_of_a_time_after_the_topics_were_compared",
        code(LaneConsumer, "_fetch_status", "min(answered, self.topic_watch.read_at)", "answered"),
        "^AssertionError: complete as of a time after the topics were compared",
    ),
    Planted(
        "a lane is not complete as of a time within an open transaction",
        f"{_TOPICS}test_lane_is_never_complete_as_of_a_time_within_an_open_transaction",
        code(
            LaneConsumer,
            "_fetch_status",
            "    answered -= int(self._lag.open_transaction_seconds(partition) * 1000)\n",
            "",
        ),
        "^AssertionError: complete as of a time within an open transaction",
    ),
    Planted(
        "a lane is not complete as of a time to come",
        f"{_COMPLETE}test_lane_with_records_of_the_future_on_both_sides_is_complete_as_of_the_brokers_answer",
        code(
            lane_module,
            "_complete_as_of",
            "min(checkpoint.applied_at, status.answered_at)",
            "checkpoint.applied_at",
        ),
        "^AssertionError: assert 9000 == 1000",
    ),
    Planted(
        "a balance is not verified by a transfer that was erased before it",
        f"{_ERASED}test_balance_that_names_a_transfer_erased_in_the_same_batch_is_unverified",
        code(_Fold, "_find_listed", " and not change.erased", ""),
        r"^AssertionError: assert \(Money.* == \(None, None, None\)",
    ),
    Planted(
        "a balance is not verified by a transfer that its batch lists and erases",
        f"{_ERASED}test_balance_that_names_a_transfer_erased_in_the_same_batch_is_unverified",
        code(_Fold, "_discard_pending", "        del self._newly_listed[key]", "        pass"),
        r"^AssertionError: assert \(Money.* == \(None, None, None\)",
    ),
)
