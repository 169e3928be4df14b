"""The previous release on this schema: each service is replaced by this release's, and some are rolled back.

Clients of both releases receive transfers meanwhile.
"""

from collections.abc import Mapping
from itertools import count

import httpx
import pytest

from livebalance.stack.cluster import Cluster
from livebalance.stack.process.service import Service
from livebalance.stack.servers.balancer import PUBLIC_PATH
from livebalance.wire.delta import FORMAT
from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck
from tests.acceptance.upgrade.conftest import ACCOUNTS, NewCluster, start_process, stop_process
from tests.acceptance.upgrade.previous_release_client import PreviousReleaseClient
from tests.previous import PINNED, Previous

RATE = 100  # transfers per second
TIMEOUT = 60.0  # seconds
QUICK = {
    "projector": {"LIVEBALANCE_SESSION_TIMEOUT_MS": "2000"},
    "gateway": {
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "2",
        "LIVEBALANCE_DRAIN_DELAY_SECONDS": "1.5",
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": "0.5",
    },
}
# The previous release has no operations port, so the balancer asks for what both releases answer.
BALANCER = {"LIVEBALANCE_HEALTH_PORT": "0", "LIVEBALANCE_HEALTH_PATH": PUBLIC_PATH}
THIS_RELEASE: dict[str, str] = {}


async def undecoded_messages(gateway: Service) -> float:
    """Returns how many Redis messages a gateway of this or of the previous release could not decode."""
    async with httpx.AsyncClient(timeout=30) as client:
        try:
            answer = await client.get(f"{gateway.operations}/metrics")
        except httpx.ConnectError:  # the previous release has no operations port
            answer = await client.get(f"{gateway.http}/metrics")
    lines = answer.text.splitlines()
    series = "livebalance_gateway_dropped_messages_total{"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(series))


async def replace_process(cluster: Cluster, name: str, release: Mapping[str, str]) -> None:
    """Restarts a process with the code that PYTHONPATH of `release` names, or with this release's."""
    await stop_process(cluster, name)
    await start_process(cluster, name, {"PYTHONPATH": "", **release})


@pytest.mark.timeout(600)
async def test_previous_release_upgraded_and_rolled_back_loses_nothing(
    new_cluster: NewCluster, previous: Previous
) -> None:
    environment = {
        kind: {**QUICK.get(kind, {}), **previous.environment} for kind in ("projector", "recorder", "gateway")
    }
    environment["balancer"] = BALANCER
    async with new_cluster(environment) as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        old_client = PreviousReleaseClient(
            "previous-release", cluster.page, check.accounts, cluster.demo_secret, previous
        )
        check.clients.append(old_client)
        seeds = count(1)

        async def replace_and_compare(*names: str, release: Mapping[str, str]) -> None:
            """Replaces processes while a feed runs, and compares all stages afterwards."""
            async with check.feeding(next(seeds), RATE):
                await check.wait_for_deltas(10, TIMEOUT)
                for name in names:
                    await replace_process(cluster, name, release)
                await check.wait_for_deltas(30, TIMEOUT)
            await check.compare(await check.wait_until_complete(TIMEOUT))

        async with check.running_clients():
            await replace_and_compare(release=THIS_RELEASE)  # replaces nothing: the previous release alone
            await replace_and_compare("projector-1", release=THIS_RELEASE)
            undecoded_by_old = await undecoded_messages(cluster.services["gateway-1"])
            await replace_and_compare(
                "projector-2", "recorder-1", "gateway-1", "gateway-2", release=THIS_RELEASE
            )
            await replace_and_compare("gateway-1", "projector-1", release=previous.environment)
            undecoded_by_both = [
                await undecoded_messages(cluster.services[name]) for name in ("gateway-1", "gateway-2")
            ]
            await check.compare_all(await check.wait_until_complete(TIMEOUT))
    # If the releases have different delta formats, audits have repaired what a gateway could not decode.
    formats_differ = PINNED["deltas"] != FORMAT
    assert (undecoded_by_old > 0, min(undecoded_by_both) > 0) == (formats_differ, formats_differ)
    expected_frames = {"Welcome", "AuthExpiring", "Ok", "Snapshot", "DeltaFrame", "Goaway"}
    assert expected_frames <= old_client.frame_types
    unexpected_events = {"Ended", "Error", "Hole"}  # "Hole" is the previous release's name of MissedRevisions
    assert unexpected_events.isdisjoint(old_client.event_types), old_client.event_types
