"""A user, or a stranger, with 300 busy connections does not use up the gateway: others notice nothing.

The greedy client ignores `Retry-After`. Each test counts answers. `tests.bench.greedy_user` measures times.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from livebalance.gateway.api.queries import WAIT_SECONDS
from livebalance.stack.paths import free_port
from livebalance.wire.identity import MAX_REVISION
from tests.bench.greedy_client import KeepAliveClient, greedy_user
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.tokens import token

CONNECTIONS = 300
HONEST_USERS = 4
RATE, MAX_REQUESTS = 20, 20  # the defaults of a user's budget
ALICE = "/api/v1/accounts/alice"

# The token's subject, the request, and the status of an answer within the budget.
ATTACKS = {
    "a user who reads": ("greedy", f"{ALICE}/transfers?limit=500", "200"),
    "a user who waits for a revision": ("greedy", f"{ALICE}?min_revision={MAX_REVISION}", "409"),
    "a stranger": (None, "/api/v1/accounts", "401"),
}


@pytest.fixture
async def gateway(
    projector: FakeProjector, gateway_environment: dict[str, str], tmp_path: Path
) -> AsyncIterator[GatewayProcess]:
    """A gateway in a process, with the default budgets. All clients of a test have the same address."""
    environment = gateway_environment | {
        "LIVEBALANCE_CONNECTION_RATE_PER_ADDRESS": "1000",
        "LIVEBALANCE_MAX_CONNECTIONS_PER_ADDRESS": "1000",
    }
    process = GatewayProcess("attacked", free_port(), tmp_path / "gateway.log", environment)
    try:
        await process.start()
        yield process
    finally:
        process.end()


async def read_your_writes(port: int, projector: FakeProjector, account: str) -> list[int]:
    """Returns the statuses of an honest user's reads. Some of them wait for a transfer that is on its way.

    A gateway waits `WAIT_SECONDS`. The user asks again if the transfer itself came late.
    """
    client, statuses = KeepAliveClient(port, token()), []
    for _ in range(4):
        for path in ("", "/transfers?limit=500"):
            statuses.append((await client.get(f"/api/v1/accounts/{account}{path}")).status)
        path = f"/api/v1/accounts/{account}?min_revision={projector.account(account).revision + 2}"
        waiting, began = asyncio.create_task(client.get(path)), time.monotonic()
        await projector.transfer(account, 5)
        transfer_is_late = time.monotonic() - began > WAIT_SECONDS / 2
        status = (await waiting).status
        if status == HTTPStatus.CONFLICT and transfer_is_late:
            status = (await client.get(path)).status
        statuses.append(status)
    client.close()
    return statuses


@pytest.mark.parametrize("attack", ATTACKS)
async def test_greedy_client_gets_429_and_honest_users_get_every_answer(
    gateway: GatewayProcess, projector: FakeProjector, attack: str
) -> None:
    subject, path, status = ATTACKS[attack]
    accounts = [f"honest-{number}" for number in range(HONEST_USERS)]
    await projector.open("alice", *accounts)
    await projector.transfer("alice", *range(1, 500))
    start = time.monotonic()
    greedy_token = token(sub=subject) if subject else "invalid"
    async with greedy_user(gateway.port, path, CONNECTIONS, greedy_token) as answers:
        async with asyncio.timeout(30):
            while await gateway.counter("http_responses_total", status=status) < MAX_REQUESTS:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        statuses = [await read_your_writes(gateway.port, projector, account) for account in accounts]
    seconds = time.monotonic() - start
    assert statuses == [[200] * 12] * HONEST_USERS
    assert set(answers) <= {status, "429", "503", "no answer"}
    assert answers[status] <= 2 * RATE + RATE * seconds + 1
    assert answers["429"] > 0
