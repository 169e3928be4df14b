"""Sets in the gateway's pure core have the properties, and each of their rules is needed for them."""

from typing import Any

import pytest

from livebalance.gateway.live.sets.members import Members
from livebalance.gateway.live.sets.set_channel import SetChannel
from livebalance.gateway.live.sets.sets import Sets
from livebalance.gateway.live.sets.stream import BatchStream
from livebalance.gateway.live.sets.subscription import SetSubscription
from livebalance.wire.sets.batch import LaneBatch
from tests.mutation.conviction import convicted_by
from tests.simulation.gateway.bounds import SMALL_BOUNDS
from tests.simulation.gateway.set_properties import (
    SET_MACHINES,
    FaultySets,
    LosingSets,
    LosslessSets,
    RevokingSets,
)
from tests.simulation.steps import search

SCHEDULES, STEPS = 200, 50
MUTANT_SCHEDULES = 3000  # a mutant is found after a few hundred at most


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, bound in SMALL_BOUNDS:
        monkeypatch.setattr(module, name, bound)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("machine", SET_MACHINES)
def test_sets_have_the_properties(machine: type[LosslessSets]) -> None:
    search(machine, range(SCHEDULES), STEPS)


# --- mutants: each breaks one rule

AFTER = Members.after


def relay_whatever_arrives(self: BatchStream, batch: LaneBatch) -> bool:
    self.epoch = batch.epoch
    self.numbers[batch.lane] = batch.number
    return not batch.header_only


def do_nothing(*_: Any) -> bool:
    return False


def take_a_page_for_everything(self: Members, number: int, count: int, left_after: int) -> Any:
    changes, _ = AFTER(self, number, count, left_after)
    return changes, False


def forget_who_left(self: Members, number: int, count: int, left_after: int) -> Any:
    return AFTER(self, number, count, self.newest)


MEMBERS = (
    "not the members of SQL",
    "not the members at the end",
    "a change was not sent",
    "no position of SQL",
)
CHAINED = "frames of a set must chain"

MUTANTS: dict[str, tuple[object, str, object, type[LosslessSets], tuple[str, ...]]] = {
    "only the next batch is relayed": (BatchStream, "on_batch", relay_whatever_arrives, FaultySets, MEMBERS),
    "a batch that an audit saw must arrive": (
        BatchStream,
        "check_overdue",
        do_nothing,
        FaultySets,
        MEMBERS,
    ),
    "a client that fell behind continues where it is": (
        Sets,
        "fall_behind",
        do_nothing,
        LosslessSets,
        (*MEMBERS, CHAINED),
    ),
    "a page is not everything": (Members, "after", take_a_page_for_everything, LosslessSets, MEMBERS),
    "accounts that left are sent": (Members, "after", forget_who_left, LosslessSets, (*MEMBERS, CHAINED)),
    "a state that was replaced is sent anew": (
        SetSubscription,
        "lacks_everything",
        False,
        LosingSets,
        (*MEMBERS, "must chain"),
    ),
    "a batch that does not lead to the total that its lane keeps is not shown": (
        SetChannel,
        "_may_compare",
        do_nothing,
        FaultySets,
        MEMBERS,
    ),
    "a set with a revoked account ends": (
        Sets,
        "_end_if_hidden",
        do_nothing,
        RevokingSets,
        ("a frame with a revoked account was written",),
    ),
}


@pytest.mark.mutant
@pytest.mark.timeout(300)
@pytest.mark.parametrize("rule", MUTANTS)
def test_sets_without_the_rule_lack_a_property(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, mutant, machine, reasons = MUTANTS[rule]
    monkeypatch.setattr(target, name, mutant)
    with convicted_by(*reasons):
        search(machine, range(MUTANT_SCHEDULES), STEPS)
