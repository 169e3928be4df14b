import pytest

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.sessions import Sessions
from tests.unit.gateway.harness import CONFIG


@pytest.fixture
def hub() -> Hub:
    return Hub(recovery_max_revisions=10_000, history_bytes=1 << 20)


@pytest.fixture
def sessions(hub: Hub) -> Sessions:
    return Sessions(CONFIG, Revocations(), hub)
