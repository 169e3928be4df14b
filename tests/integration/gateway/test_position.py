"""REST by position: what has not changed is not sent again; a read waits for a revision, within bounds."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from livebalance.readmodel import gateway_reads
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.test_problem import assert_problem
from tests.tokens import bearer

ALICE = "/api/v1/accounts/alice"


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer()) as client:
        yield client


async def test_what_a_client_has_is_not_sent_again(http: httpx.AsyncClient, projector: FakeProjector) -> None:
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
    anew = await http.get(ALICE, headers={"if-none-match": moved.headers["etag"]})
    assert (anew.status_code, anew.headers["etag"]) == (200, 'W/"00000000000000b2:5"')


async def test_a_transfer_has_a_tag_and_lists_a_position(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 5, 6)
    one = await http.get(f"{ALICE}/transfers/t-0")
    assert one.headers["etag"] == f'"{projector.epoch}:2"'
    again = await http.get(f"{ALICE}/transfers/t-0", headers={"if-none-match": one.headers["etag"]})
    assert again.status_code == 304
    for query in ("", "?after_revision=0", "?limit=1", "?after_revision=5"):
        listed = (await http.get(f"{ALICE}/transfers{query}")).json()
        assert (listed["epoch"], listed["revision"]) == (projector.epoch, 5)
    empty = (await http.get("/api/v1/accounts/nobody/transfers")).json()
    assert empty == {"epoch": projector.epoch, "revision": 0, "transfers": [], "next": None}


@pytest.mark.parametrize("path", [ALICE, f"{ALICE}/transfers"])
async def test_a_read_waits_until_the_account_is_there(
    http: httpx.AsyncClient, projector: FakeProjector, path: str
) -> None:
    await projector.open("alice")
    at_once = await http.get(path, params={"min_revision": 1})
    assert at_once.json()["revision"] == 1
    waiting = asyncio.create_task(http.get(path, params={"min_revision": 5}))
    await projector.transfer("alice", 5)
    assert not waiting.done()
    await projector.transfer("alice", 6)
    found = (await waiting).json()
    assert (found["revision"], len(found["transfers"])) == (5, 2)
    cut = await http.get(path, params={"min_revision": 6}, headers={"if-none-match": "*"})
    assert_problem(cut, 409, "not_yet")


async def test_those_who_wait_cost_few_statements_and_hold_nobody(
    http: httpx.AsyncClient, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await projector.open("alice", "bob")
    statements = []

    async def count_reads(connection: Any, accounts: Any) -> Any:
        statements.append(sorted(accounts))
        return await real(connection, accounts)

    real = gateway_reads.read_revisions
    monkeypatch.setattr(gateway_reads, "read_revisions", count_reads)
    monkeypatch.setattr("livebalance.gateway.api.queries.MAX_WAITERS", 8)
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 4.0)
    waiting = [
        asyncio.create_task(http.get(f"/api/v1/accounts/{name}", params={"min_revision": 99}, timeout=20))
        for name in ("alice", "bob") * 20
    ]
    began = time.monotonic()
    refused = 0
    while refused < 32 and time.monotonic() - began < 3.5:
        await asyncio.wait([one for one in waiting if not one.done()], timeout=0.1)
        refused = sum(one.done() for one in waiting)
    assert refused == 32
    assert (await http.get(ALICE)).status_code == 200
    for answer in [await one for one in waiting]:
        assert_problem(answer, 409, "not_yet")
        assert answer.headers["retry-after"] == "1"
    assert 1 < len(statements) <= 82
    assert ["alice", "bob"] in statements
