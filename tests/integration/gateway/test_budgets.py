"""Budgets of users, and turns: requests of one user neither use up the gateway nor delay those of another."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import islice
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from livebalance.gateway.api.queries import MAX_QUERIES, MAX_QUERIES_PER_USER
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from tests.integration.gateway.conftest import LimiterClock, RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.test_problem import assert_problem
from tests.tokens import bearer, token

MANY = 30  # requests of a greedy user
ONE_REQUEST = {"request_rate_per_user": 0.5}  # in two seconds
EVENTS = "/events?account=alice"


class BlockedReads:
    """Blocks the reads of accounts, and records the order in which they start."""

    def __init__(self, patch: pytest.MonkeyPatch, *accounts: str) -> None:
        self.started: list[str] = []
        self.unblock = asyncio.Event()
        self._accounts = accounts
        self._read = gateway_reads.read_accounts
        patch.setattr(gateway_reads, "read_accounts", self._read_accounts)
        patch.setattr("livebalance.gateway.api.queries.QUERY_SECONDS", 30.0)

    async def _read_accounts(
        self, connection: Any, queries: Sequence[AccountQuery], *limits: int
    ) -> list[AccountState]:
        (query,) = queries
        self.started.append(query.account)
        if query.account in self._accounts:
            await self.unblock.wait()
        return await self._read(connection, queries, *limits)


def http(gateway: RunningGateway, bearer_token: str | None = None) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(
        base_url=f"{gateway.http}/api/v1", headers=bearer(bearer_token), limits=limits, timeout=30
    )


async def until_waiting(count: int) -> None:
    async with asyncio.timeout(30):
        while REGISTRY.get_sample_value("livebalance_gateway_waiting_queries") != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_answered(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (answer := await client.get("/accounts")).status_code == 429:  # noqa: ASYNC110
            await asyncio.sleep(float(answer.headers["retry-after"]))
    assert answer.status_code == 200


async def test_user_whose_queries_hang_does_not_block_another_user(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = BlockedReads(monkeypatch, "greedy")
    async with http(gateway) as greedy, http(gateway) as honest:
        requests = [asyncio.create_task(greedy.get("/accounts/greedy")) for _ in range(MANY)]
        await until_waiting(MANY - MAX_QUERIES_PER_USER)
        for _ in range(5):
            assert (await honest.get("/accounts/honest")).status_code == 200
        assert not any(request.done() for request in requests)
        reads.unblock.set()
        assert {(await request).status_code for request in requests} == {200}


async def test_users_with_many_requests_delay_another_user_by_one_each(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [f"greedy-{number}" for number in range(MAX_QUERIES)]
    reads = BlockedReads(monkeypatch, *accounts)
    async with AsyncExitStack() as stack:
        requests = []
        for account in accounts:
            client = await stack.enter_async_context(http(gateway))
            requests += [asyncio.create_task(client.get(f"/accounts/{account}")) for _ in range(MANY)]
        await until_waiting(MAX_QUERIES * (MANY - 1))
        honest = await stack.enter_async_context(http(gateway))
        requests.append(asyncio.create_task(honest.get("/accounts/honest")))
        await until_waiting(MAX_QUERIES * (MANY - 1) + 1)
        reads.unblock.set()
        assert {(await request).status_code for request in requests} == {200}
    before = Counter(reads.started[MAX_QUERIES : reads.started.index("honest")])
    assert max(before.values(), default=0) <= 1


async def test_user_with_many_requests_that_wait_for_a_revision_leaves_room_for_others(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 30.0)
    gateway = await start_gateway(max_requests_per_user=20)
    await projector.open("alice", "bob")
    async with http(gateway) as greedy, http(gateway) as honest:
        far = [asyncio.create_task(greedy.get("/accounts/bob?min_revision=99")) for _ in range(100)]
        for rejection in islice(asyncio.as_completed(far), 80):
            assert_problem(await rejection, 429, "user_full")
        assert sum(request.done() for request in far) == 80
        near = asyncio.create_task(honest.get("/accounts/alice?min_revision=3"))
        await projector.transfer("alice", 5)
        assert (await near).json()["revision"] == 3
        await projector.transfer("bob", *range(49))
        assert {(await request).status_code for request in far} == {200, 429}
        assert (await greedy.get("/accounts/bob")).status_code == 200


async def test_user_over_its_rate_gets_429_and_another_user_does_not(
    start_gateway: StartGateway, limiter_clock: LimiterClock
) -> None:
    gateway = await start_gateway(**ONE_REQUEST)
    async with http(gateway, token(sub="greedy")) as greedy, http(gateway) as honest:
        assert (await greedy.get("/accounts")).status_code == 200
        rejected = await greedy.get("/accounts")
        assert_problem(rejected, 429, "user_too_fast")
        assert rejected.headers["retry-after"] == "2"
        other_token = bearer(token(sub="greedy"))
        assert_problem(await honest.get("/accounts", headers=other_token), 429, "user_too_fast")
        assert (await honest.get("/accounts")).status_code == 200
        limiter_clock.now += 2
        assert (await greedy.get("/accounts")).status_code == 200


async def test_requests_without_a_valid_token_share_the_budget_of_their_address(
    start_gateway: StartGateway, limiter_clock: LimiterClock
) -> None:
    gateway = await start_gateway(**ONE_REQUEST)
    async with http(gateway, "invalid") as stranger, http(gateway) as user:
        assert (await stranger.get("/nothing")).status_code == 404
        rejected = await stranger.get("/accounts", headers={"authorization": ""})
        assert_problem(rejected, 429, "address_too_fast")
        assert rejected.headers["retry-after"] == "2"
        assert (await user.get("/accounts")).status_code == 200
        elsewhere = {"x-forwarded-for": "192.0.2.1"}
        assert (await stranger.get("/accounts", headers=elsewhere)).status_code == 401


async def test_addresses_of_an_ipv6_network_share_a_budget(
    start_gateway: StartGateway, limiter_clock: LimiterClock
) -> None:
    """A client has all addresses of its /64."""
    gateway = await start_gateway(**ONE_REQUEST)
    async with http(gateway, "invalid") as stranger:
        for address, status in (("2001:db8::1", 401), ("2001:db8::2:3", 429), ("2001:db8:0:1::1", 401)):
            answer = await stranger.get("/accounts", headers={"x-forwarded-for": address})
            assert answer.status_code == status


async def test_rejected_event_source_gets_a_stream_that_says_when_to_reconnect(
    start_gateway: StartGateway, limiter_clock: LimiterClock
) -> None:
    """A browser's EventSource would never reconnect after 429."""
    gateway = await start_gateway(**ONE_REQUEST)
    async with http(gateway) as client:
        assert (await client.get("/accounts")).status_code == 200
        rejected = await client.get(EVENTS, headers={"accept": "text/event-stream"})
        assert (rejected.status_code, rejected.headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        assert "event: close" in rejected.text
        assert '"code":4013' in rejected.text
        assert_problem(await client.get(EVENTS), 429, "user_too_fast")


async def test_event_stream_counts_as_a_request_until_it_ends(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_requests_per_user=1)
    await projector.open("alice")
    bearer_token = token()
    async with http(gateway, bearer_token) as client:
        async with SseClient(gateway.http, "alice", token=bearer_token) as stream:
            await stream.until_at("alice", 1)
            assert_problem(await client.get("/accounts"), 429, "user_full")
        await until_answered(client)


async def test_user_behind_a_proxy_that_names_no_client_keeps_its_own_budget(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests without a token share a budget there, which no user needs. A metric counts all of them."""
    gateway = await start_gateway(**ONE_REQUEST)
    monkeypatch.setattr("livebalance.gateway.api.budgets.time", SimpleNamespace(monotonic=lambda: 1e9))
    before = await gateway.counter("unnamed_clients")
    async with http(gateway) as user, http(gateway, "invalid") as stranger:
        assert [(await stranger.get("/accounts")).status_code for _ in range(2)] == [401, 429]
        assert (await user.get("/accounts")).status_code != 429
    assert await gateway.counter("unnamed_clients") == before + 3
