"""Each process is replaced by the next one of its kind while people watch, and none of them notices.

As an orchestrator does it: a gateway's successor is ready before it is told to stop; of the others the next
one of the same name starts when the one before has ended.
"""

import asyncio
from collections.abc import Sequence

import pytest

from livebalance.client.event import Connected, Disconnected
from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster
from livebalance.wire.close import CloseCode, retry_after_ms
from livebalance.wire.frame import Goaway
from tests.acceptance.end_to_end.end_to_end_check import Proof
from tests.acceptance.upgrade.conftest import ACCOUNTS, NewCluster, started, stopped
from tests.acceptance.upgrade.reconnecting_client import Traveller
from tests.tokens import token_source

RATE = 200  # transfers a second, two records each
TRAVELLERS = 36
NOTICE, DRAIN = 1.5, 3.0  # seconds; the balancer looks once a second
MOMENT = 0.1  # seconds; that more than half of a dozen come back within one happens in 100,000 drains once
WITHIN = 60.0
SURGE = "gateway-4"  # there only while one of the others is not
GATEWAYS = ["gateway-1", "gateway-2", "gateway-3"]
OTHERS = ["projector-1", "projector-2", "recorder-1", "recorder-2"]
# As in the chart: a projector is a member of its own name, whose lanes wait for it.
NAMED = {name: {"LIVEBALANCE_GROUP_INSTANCE_ID": name} for name in OTHERS if name.startswith("projector")}
STILL = 10.0  # seconds: the time of a session, after which another one has them
ENVIRONMENT = {
    "gateway": {
        "LIVEBALANCE_DRAIN_DELAY_SECONDS": str(NOTICE),
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": str(DRAIN),
    },
    **NAMED,
}


def travellers(cluster: Cluster) -> list[Traveller]:
    """Each of a user of its own, and with an account of its own as far as there are so many."""
    return [
        Traveller(
            f"traveller-{n}", cluster.page, [account_id(1 + n % ACCOUNTS)], token_source(cluster.demo_secret)
        )
        for n in range(TRAVELLERS)
    ]


async def restarted(cluster: Cluster, name: str, watching: Sequence[Traveller]) -> float:
    """The longest that data stood still for anyone until it was ready again, in seconds."""
    for traveller in watching:
        traveller.stillness = 0.0
    await stopped(cluster, name)
    await started(cluster, name)
    return max(traveller.stillness for traveller in watching)


async def replaced(cluster: Cluster, old: str, new: str, watching: Sequence[Traveller]) -> list[float]:
    """When each client of a gateway asked for another one, in order; all of them have found one."""
    await started(cluster, new)
    leaving = [one for one in watching if one.arrivals[-1].gateway == old]
    assert len(leaving) >= TRAVELLERS / 6, "too few to see whether they stay apart"
    await stopped(cluster, old)
    async with asyncio.timeout(WITHIN):
        await asyncio.gather(*(one.connected(one.connections + _is_still_at(one, old)) for one in leaving))
    assert all(one.arrivals[-1].gateway != old for one in leaving)
    return sorted(one.arrivals[-1].asked for one in leaving)


def _is_still_at(traveller: Traveller, gateway: str) -> bool:
    return traveller.arrivals[-1].gateway == gateway


def most_at_once(times: Sequence[float]) -> int:
    return max(sum(first <= one < first + MOMENT for one in times) for first in times)


def assert_undisturbed(traveller: Traveller) -> None:
    """Each time it was asked first, then went or was closed, and its one attempt was answered."""
    assert traveller.attempts == traveller.connections
    kinds = [type(event) for event in traveller.told]
    assert kinds == [Connected, *[Goaway, Disconnected, Connected] * (traveller.connections - 1)], kinds
    for event in traveller.told:
        if isinstance(event, Goaway):
            assert event.reconnect_within_ms == DRAIN * 1000
        elif isinstance(event, Disconnected):
            assert event.code == CloseCode.GOODBYE
            assert closed_within(event) or event.reason == "left in time"


def closed_within(event: Disconnected) -> bool:
    """It did not go by itself, and was told when to come back."""
    wait = retry_after_ms(event.reason)
    return wait is not None and wait <= DRAIN * 1000


@pytest.mark.timeout(240)
async def test_nobody_notices(new_cluster: NewCluster) -> None:
    async with new_cluster(ENVIRONMENT, gateways=4, recorders=2) as cluster:
        await stopped(cluster, SURGE)
        watching = travellers(cluster)
        proof = Proof(cluster, ACCOUNTS, watching)
        async with proof.watched():
            async with proof.feeding(seed=1, rate=RATE):
                await proof.delivered(10, WITHIN)
                for name in OTHERS:
                    assert await restarted(cluster, name, watching) < STILL
                    await proof.delivered(10, WITHIN)
                for old, new in zip(GATEWAYS, [SURGE, *GATEWAYS], strict=False):
                    times = await replaced(cluster, old, new, watching)
                    assert most_at_once(times) <= len(times) / 2, times
                    await proof.delivered(10, WITHIN)
            await proof.compare(await proof.settled(WITHIN))
    for traveller in watching:
        assert_undisturbed(traveller)
    ends = [event for one in watching for event in one.told if isinstance(event, Disconnected)]
    assert len({retry_after_ms(event.reason) for event in ends if closed_within(event)}) > 1
