"""Postgres answers slowly: who comes waits in a line that ends, and who is inside notices nothing."""

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

SLOW = 0.3  # seconds, each statement
JOINERS, EACH = 8, 30  # accounts of each
ASKED = 60  # requests at once


async def test_f24_postgres_is_slow_and_asked_for_too_much(
    start_gateway: StartGateway, projector: FakeProjector, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.api.queries.QUERY_SECONDS", 2.0)
    wanted = [[f"a-{number}-{n}" for n in range(EACH)] for number in range(JOINERS)]
    projector.as_of = Millis(time.time_ns() // 1_000_000)
    await projector.open("busy", *(account for some in wanted for account in some))
    async with faulty_proxy(database.url("gateway")) as (wire, url), AsyncExitStack() as stack:
        gateway = await start_gateway(postgres=url, max_queued_reads=20)
        inside = await stack.enter_async_context(WebSocketClient(gateway.ws))
        await inside.subscribe("busy")
        await inside.until_at("busy", 1)
        full = await gateway.counter("failed_reads", reason="queue_full")
        assert {one.status_code for one in await ask(gateway, ASKED)} == {200}
        wire.delay = SLOW
        joiners = [await stack.enter_async_context(CheckedClient([gateway.ws], some)) for some in wanted]
        asking = asyncio.create_task(ask(gateway, ASKED))
        moved = 0
        while not asking.done() or not any(one.of(Changed) for one in joiners):
            await projector.transfer("busy", 5)
            await inside.until_at("busy", projector.account("busy").revision)
            moved += 1
        assert moved > 20  # if one of them had waited for one statement, it were 7
        assert_some_are_asked_to_come_back(await asking)
        wire.delay = 0.0
        for joiner in joiners:
            await joiner.until_current(projector, within=15)
            joiner.assert_exact(projector)
        told = [one for joiner in joiners for one in joiner.of(Error)]
        assert {(one.code, one.temporary) for one in told} == {("unavailable", True)}
        waits = {one.retry_after_ms for one in told if isinstance(one.retry_after_ms, int)}
        assert max(waits) - min(waits) > 1000
        assert len(waits) > len(told) / 2
        assert await gateway.counter("failed_reads", reason="queue_full") - full == len(told)
        assert {one["state"] for one in inside.of_type("status")} == {"live"}
        assert_shows(inside.shown["busy"], projector.account("busy"))


async def ask(gateway: RunningGateway, count: int) -> list[httpx.Response]:
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as http:
        return await asyncio.gather(*(http.get("/api/v1/accounts/busy") for _ in range(count)))


def assert_some_are_asked_to_come_back(answers: list[httpx.Response]) -> None:
    assert {one.status_code for one in answers} == {200, 503}
    for one in answers:
        if one.status_code == 503:
            assert one.json()["code"] == "unavailable"
            assert int(one.headers["retry-after"]) > 0
