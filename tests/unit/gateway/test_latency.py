"""Which delta is timed."""

from collections.abc import Iterable, Mapping

import pytest
from prometheus_client import REGISTRY

from livebalance.gateway.telemetry.latency import LatencySampler
from livebalance.wire.delta import Delta, DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis

ALICE, EPOCH = AccountId("alice"), Epoch("00000000000000a1")


class Hub:
    def __init__(self, at: int) -> None:
        self.at = at

    def positions(self, accounts: Iterable[AccountId]) -> Mapping[AccountId, Position]:
        return {one: Position(EPOCH, Revision(self.at)) for one in accounts}


def delta(from_: int) -> Delta:
    parts = DeltaParts(EPOCH, Revision(from_), Revision(from_ + 1), Millis(1_795_000_000_000), b"{}", b"")
    return make_delta(ALICE, Lane(0), parts)


def timed() -> float:
    return REGISTRY.get_sample_value("livebalance_gateway_commit_to_socket_seconds_count") or 0


def test_the_first_that_continues_is_timed_once_it_is_relayed() -> None:
    hub, before = Hub(5), timed()
    journeys = LatencySampler(hub)
    chosen = journeys.start([(ALICE, delta(5)), (ALICE, delta(6))])
    assert chosen == (ALICE, delta(5))
    journeys.finish(*chosen)
    assert timed() == before  # a hole: it was kept
    hub.at = 7
    journeys.finish(*chosen)
    assert timed() == before + 1
    assert journeys.start([(ALICE, delta(7))]) is None  # so soon after


@pytest.mark.parametrize("from_", [4, 6])
def test_one_that_was_there_or_leaves_a_hole_is_not(from_: int) -> None:
    assert LatencySampler(Hub(5)).start([(ALICE, delta(from_))]) is None
