"""Planted mutants of rules that live in shells: what they publish after a fault, and what they drop.

The order of commit and publish has its mutant in tests/acceptance/end_to_end/projector_mutants.py.
"""

from typing import Any

from livebalance.gateway.live.outbox import Outbox
from livebalance.projector import projector
from livebalance.projector.fold.lane import OwnedLane
from livebalance.readmodel.rows import LaneMove
from tests.mutation.planted import Planted, attribute

_REVOKED = "tests/unit/gateway/test_revoked_data.py::"
_IN_DOUBT = (
    "tests/integration/projector/test_commit_in_doubt.py::"
    "test_batch_in_doubt_is_not_published_after_another_owner_came_between"
)


def was_committed_by_anybody(move: LaneMove, lane: OwnedLane | None) -> bool:
    return lane is not None and (lane.transfers.next, lane.balances.next) == (
        move.transfers_to,
        move.balances_to,
    )


def keep_data(self: Outbox, *_: Any) -> None:
    pass


RULES = (
    Planted(
        "a batch in doubt is published by the owner that committed it",
        _IN_DOUBT,
        attribute(projector, "_was_committed", was_committed_by_anybody),
        "^AssertionError: assert 4 == 3",
    ),
    Planted(
        "a revoked session is sent nothing that waits",
        f"{_REVOKED}test_session_that_is_revoked_is_sent_no_waiting_data",
        attribute(Outbox, "drop_data", keep_data),
        r"^AssertionError: assert .* == \[\].*first extra item: \{'type': 'delta'",
    ),
    Planted(
        "an expired session is sent nothing that waits",
        f"{_REVOKED}test_session_whose_token_expired_is_sent_no_waiting_data",
        attribute(Outbox, "drop_data", keep_data),
        r"^AssertionError: assert 'delta' not in \['delta', 'delta'",
    ),
    Planted(
        "what waits of a revoked account is dropped",
        f"{_REVOKED}test_session_whose_account_is_revoked_is_sent_the_data_of_its_other_account_only",
        attribute(Outbox, "drop_account", keep_data),
        r"^AssertionError: assert .*At index 0 diff: \('delta', 'account:alice'\)",
    ),
)
