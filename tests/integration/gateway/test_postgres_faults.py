"""Postgres is slow: new subscriptions wait in a bounded queue, and connected clients notice nothing."""

import asyncio
import time
from contextlib import AsyncExitStack

import httpx
import pytest

from livebalance.client.event import Changed
from livebalance.wire.frame import Error
from livebalance.wire.timestamp import Millis
from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.faulty_proxy import faulty_proxy
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.database import Database
from tests.tokens import bearer

DELAY = 0.3  # seconds of each statement
SUBSCRIBERS, ACCOUNTS_EACH = 8, 30
REQUESTS = 60  # at once


async def test_f24_slow_postgres_with_too_many_reads_answers_unavailable(
    start_gateway: StartGateway, projector: FakeProjector, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.api.queries.MAX_WAITING", REQUESTS // 3)
    groups = [[f"a-{number}-{n}" for n in range(ACCOUNTS_EACH)] for number in range(SUBSCRIBERS)]
    projector.as_of = Millis(time.time_ns() // 1_000_000)
    await projector.open("busy", *(account for accounts in groups for account in accounts))
    async with faulty_proxy(database.url("gateway")) as (proxy, url), AsyncExitStack() as stack:
        gateway = await start_gateway(postgres=url, max_queued_reads=20)
        connected = await stack.enter_async_context(WebSocketClient(gateway.ws))
        await connected.subscribe("busy")
        await connected.until_at("busy", 1)
        full = await gateway.counter("failed_reads", reason="queue_full")
        assert {response.status_code for response in await get_balance(gateway, REQUESTS // 3)} == {200}
        proxy.delay = DELAY
        proxy.delivers.clear()
        subscribers = [
            await stack.enter_async_context(CheckedClient([gateway.ws], accounts)) for accounts in groups
        ]
        requests = asyncio.create_task(get_balance(gateway, REQUESTS))
        for _ in range(20):  # no delta waits for a statement
            await projector.transfer("busy", 5)
            await connected.until_at("busy", projector.account("busy").revision)
        assert not any(subscriber.of(Changed) for subscriber in subscribers)
        proxy.delivers.set()
        while not requests.done() or not any(subscriber.of(Changed) for subscriber in subscribers):
            await projector.transfer("busy", 5)
            await connected.until_at("busy", projector.account("busy").revision)
        assert_some_are_unavailable(await requests)
        proxy.delay = 0.0
        for subscriber in subscribers:
            await subscriber.until_current(projector)
            subscriber.assert_exact(projector)
        errors = [error for subscriber in subscribers for error in subscriber.of(Error)]
        assert {(error.code, error.temporary) for error in errors} == {("unavailable", True)}
        waits = {error.retry_after_ms for error in errors if isinstance(error.retry_after_ms, int)}
        assert max(waits) - min(waits) > 1000
        assert len(waits) > len(errors) / 2
        assert await gateway.counter("failed_reads", reason="queue_full") - full == len(errors)
        assert {frame["state"] for frame in connected.of_type("status")} == {"live"}
        assert_shows(connected.shown["busy"], projector.account("busy"))


async def get_balance(gateway: RunningGateway, count: int) -> list[httpx.Response]:
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as http:
        return await asyncio.gather(*(http.get("/api/v1/accounts/busy") for _ in range(count)))


def assert_some_are_unavailable(responses: list[httpx.Response]) -> None:
    assert {response.status_code for response in responses} == {200, 503}
    for response in responses:
        if response.status_code == 503:
            assert response.json()["code"] == "unavailable"
            assert int(response.headers["retry-after"]) > 0
