from collections.abc import Iterable, Mapping

import pytest
from prometheus_client import REGISTRY

from livebalance.gateway.telemetry.latency import LatencySampler
from livebalance.wire.delta import Delta, DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis

ALICE, EPOCH = AccountId("alice"), Epoch("00000000000000a1")


class Hub:
    def __init__(self, revision: int) -> None:
        self.revision = revision

    def positions(self, accounts: Iterable[AccountId]) -> Mapping[AccountId, Position]:
        return {account: Position(EPOCH, Revision(self.revision)) for account in accounts}


def delta(from_: int) -> Delta:
    parts = DeltaParts(EPOCH, Revision(from_), Revision(from_ + 1), Millis(1_795_000_000_000), b"{}", b"")
    return make_delta(ALICE, Lane(0), parts)


def observations() -> float:
    return REGISTRY.get_sample_value("livebalance_gateway_commit_to_socket_seconds_count") or 0


def test_sample_that_continues_its_account_is_observed_once_the_account_has_reached_it() -> None:
    hub, before = Hub(5), observations()
    sampler = LatencySampler(hub)
    sample = sampler.start([(ALICE, delta(5)), (ALICE, delta(6))])
    assert sample == (ALICE, delta(5))
    sampler.finish(*sample)
    assert observations() == before  # the delta waits for a gap to close
    hub.revision = 7
    sampler.finish(*sample)
    assert observations() == before + 1
    assert sampler.start([(ALICE, delta(7))]) is None  # too soon


@pytest.mark.parametrize("from_", [4, 6])
def test_delta_that_does_not_continue_its_account_is_not_sampled(from_: int) -> None:
    assert LatencySampler(Hub(5)).start([(ALICE, delta(from_))]) is None
