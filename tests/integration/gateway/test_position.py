"""REST by position: ETags, and reads that wait for a revision."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import httpx
import pytest

from livebalance.gateway.api.queries import POLL_SECONDS
from livebalance.readmodel import account_pages
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.test_problem import assert_problem
from tests.tokens import bearer

ALICE = "/api/v1/accounts/alice"


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as client:
        yield client


async def test_known_etag_gets_304(http: httpx.AsyncClient, projector: FakeProjector) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 5)
    first = await http.get(ALICE)
    tag = first.headers["etag"]
    assert tag == f'W/"{projector.epoch}:3"'
    for known in (tag, tag.removeprefix("W/"), "*", f'"x", {tag},"y"'):
        again = await http.get(ALICE, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    several = [("if-none-match", '"x"'), ("if-none-match", tag)]
    assert (await http.get(ALICE, headers=several)).status_code == 304
    assert (await http.get(ALICE, headers={"if-none-match": '"x"'})).json() == first.json()

    await projector.transfer("alice", 5)
    moved = await http.get(ALICE, headers={"if-none-match": tag})
    assert (moved.status_code, moved.headers["etag"]) == (200, f'W/"{projector.epoch}:5"')
    await projector.change_epoch("00000000000000b2")
    of_new_epoch = await http.get(ALICE, headers={"if-none-match": moved.headers["etag"]})
    assert (of_new_epoch.status_code, of_new_epoch.headers["etag"]) == (200, 'W/"00000000000000b2:5"')


async def test_transfer_has_an_etag_and_lists_have_a_position(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 5, 6)
    transfer = await http.get(f"{ALICE}/transfers/t-0")
    assert transfer.headers["etag"] == f'"{projector.epoch}:2"'
    known = await http.get(f"{ALICE}/transfers/t-0", headers={"if-none-match": transfer.headers["etag"]})
    assert known.status_code == 304
    for query in ("", "?after_revision=0", "?limit=1", "?after_revision=5"):
        listed = (await http.get(f"{ALICE}/transfers{query}")).json()
        assert (listed["epoch"], listed["revision"]) == (projector.epoch, 5)
    empty = (await http.get("/api/v1/accounts/nobody/transfers")).json()
    assert empty == {"epoch": projector.epoch, "revision": 0, "transfers": [], "next": None}


@pytest.mark.parametrize("path", [ALICE, f"{ALICE}/transfers"])
async def test_read_waits_for_min_revision(
    http: httpx.AsyncClient, projector: FakeProjector, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 30.0)
    await projector.open("alice")
    at_once = await http.get(path, params={"min_revision": 1})
    assert at_once.json()["revision"] == 1
    waiting = asyncio.create_task(http.get(path, params={"min_revision": 5}))
    await projector.transfer("alice", 5)
    assert not waiting.done()
    await projector.transfer("alice", 6)
    body = (await waiting).json()
    assert (body["revision"], len(body["transfers"])) == (5, 2)
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 0.1)
    too_early = await http.get(path, params={"min_revision": 6}, headers={"if-none-match": "*"})
    assert_problem(too_early, 409, "not_yet")


async def test_waiting_reads_share_queries_and_delay_nobody(
    http: httpx.AsyncClient, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await projector.open("alice", "bob")
    polls = []

    async def count_reads(connection: Any, accounts: Any) -> Any:
        polls.append(sorted(accounts))
        return await real(connection, accounts)

    real = account_pages.read_revisions
    monkeypatch.setattr(account_pages, "read_revisions", count_reads)
    monkeypatch.setattr("livebalance.gateway.api.queries.MAX_WAITERS", 8)
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 60.0)
    waiting = [
        asyncio.create_task(http.get(f"/api/v1/accounts/{name}", params={"min_revision": 3}))
        for name in ("alice", "bob") * 20
    ]
    began = time.monotonic()
    for rejection in islice(asyncio.as_completed(waiting), 32):
        response = await rejection
        assert_problem(response, 409, "not_yet")
        assert response.headers["retry-after"] == "1"
    assert (await http.get(ALICE)).status_code == 200
    assert sum(task.done() for task in waiting) == 32
    polls_before = len(polls)
    async with asyncio.timeout(30):
        while len(polls) < polls_before + 3:  # noqa: ASYNC110 - polls have no event
            await asyncio.sleep(0.01)
    await projector.write({"alice": [5, None], "bob": [5, None]})
    responses = [await task for task in waiting]
    assert sorted(response.status_code for response in responses) == [200] * 8 + [409] * 32
    assert len(polls) <= (time.monotonic() - began) / POLL_SECONDS + 2
    assert ["alice", "bob"] in polls
