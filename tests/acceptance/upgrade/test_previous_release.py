"""The release before on the schema of this one, one service after the other replaced by this one's, and back.

Clients of both watch all the time.
"""

from collections.abc import Mapping
from itertools import count

import httpx
import pytest

from livebalance.stack.cluster import Cluster
from livebalance.wire.delta import FORMAT
from tests.acceptance.end_to_end.end_to_end_check import Proof
from tests.acceptance.upgrade.conftest import ACCOUNTS, NewCluster, started, stopped
from tests.acceptance.upgrade.previous_release_client import Veteran
from tests.previous import PINNED, Previous

RATE = 100  # transfers a second
WITHIN = 30.0  # seconds
QUICK = {
    "projector": {"LIVEBALANCE_SESSION_TIMEOUT_MS": "2000"},
    "gateway": {
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "2",
        "LIVEBALANCE_DRAIN_DELAY_SECONDS": "1.5",
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": "0.5",
    },
}


async def unread(url: str) -> float:
    """Messages of Redis that a gateway did not understand."""
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{url}/metrics")).text.splitlines()
    series = "livebalance_gateway_dropped_messages_total{"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(series))


async def replaced(cluster: Cluster, name: str, by: Mapping[str, str]) -> None:
    """The next process of that name has the code that PYTHONPATH of `by` names, or today's."""
    await stopped(cluster, name)
    await started(cluster, name, {"PYTHONPATH": "", **by})


@pytest.mark.timeout(240)
async def test_an_upgrade_and_the_way_back(new_cluster: NewCluster, previous: Previous) -> None:
    old = {
        kind: {**QUICK.get(kind, {}), **previous.environment} for kind in ("projector", "recorder", "gateway")
    }
    async with new_cluster(old) as cluster:
        proof = Proof(cluster, ACCOUNTS)
        veteran = Veteran("veteran", cluster.page, proof.accounts, cluster.demo_secret, previous)
        proof.listeners.append(veteran)
        seeds = count(1)

        async def proven(*names: str, by: Mapping[str, str]) -> None:
            """While transfers come these are replaced; then all that came is compared."""
            async with proof.feeding(next(seeds), RATE):
                await proof.delivered(10, WITHIN)
                for name in names:
                    await replaced(cluster, name, by)
                await proof.delivered(30, WITHIN)
            await proof.compare(await proof.settled(WITHIN))

        async with proof.watched():
            await proven(by={})  # the release before, alone, on this schema
            await proven("projector-1", by={})
            unread_by_old = await unread(cluster.gateways[0])
            await proven("projector-2", "recorder-1", "gateway-1", "gateway-2", by={})
            await proven("gateway-1", "projector-1", by=previous.environment)  # and some of it back
            unread_by_both = [await unread(url) for url in cluster.gateways]
            await proof.compare_again(await proof.settled(WITHIN))
    differ = PINNED["deltas"] != FORMAT  # then audits have found what they could not read of each other
    assert (unread_by_old > 0, min(unread_by_both) > 0) == (differ, differ)
    assert {"Welcome", "AuthExpiring", "Ok", "Snapshot", "DeltaFrame", "Goaway"} <= veteran.kinds
    assert {"Ended", "Error", "Hole"}.isdisjoint(veteran.told), veteran.told
