"""Statements over REST: both forms, their edges, and what they are when they cannot be told to the end."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from livebalance.gateway.api import statements
from livebalance.gateway.api.auth import RequestAuth
from livebalance.readmodel import gateway_reads
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import START, FakeProjector
from tests.tokens import bearer, token

PATH = "/api/v1/accounts/alice/statement"
MANY = 23


@pytest.fixture
async def http(
    gateway: RunningGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """Alice moved 23 times, 1 ms apart, and pages are small."""
    monkeypatch.setattr(statements, "PAGE_ROWS", 5)
    await projector.open("alice", "bob")
    await projector.transfer("alice", *range(-3, MANY - 3))
    await projector.execute("update balance set opening = 100.00 where account_id = 'alice'")
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer()) as client:
        yield client


def at(number: int) -> str:
    """When the transfer of that number was recorded."""
    return format_rfc3339(Millis(START + number))


async def test_all_of_it(http: httpx.AsyncClient, projector: FakeProjector) -> None:
    answer = await http.get(PATH)
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    page = projector.account("alice")
    assert [one["id"] for one in told.pop("transfers")] == [one.id for one in page.transfers]
    assert told == {
        "account": "alice",
        "epoch": projector.epoch,
        "revision": page.revision,
        "currency": "EUR",
        "opening": {"revision": 0, "total": "0", "balance": "100.00"},
        "closing": {
            "revision": page.transfers[-1].revision,
            "total": page.transfers[-1].total,
            "balance": str(100 + Decimal(page.transfers[-1].total)),
        },
    }


@pytest.mark.parametrize(
    ("first", "last"), [(0, MANY), (5, 10), (5, 5), (0, 1), (22, 23), (22, 99), (23, 99)]
)
async def test_a_period_has_its_beginning_and_not_its_end(
    http: httpx.AsyncClient, first: int, last: int
) -> None:
    told = (await http.get(PATH, params={"from": at(first), "to": at(last)})).json()
    ids = [f"t-{number}" for number in range(first, min(last, MANY))]
    assert [one["id"] for one in told["transfers"]] == ids
    moved = sum(Decimal(one["amount"]) for one in told["transfers"])
    assert Decimal(told["opening"]["balance"]) + moved == Decimal(told["closing"]["balance"])
    if first:
        assert told["opening"]["revision"] == 2 * first


async def test_as_csv_it_says_the_same(http: httpx.AsyncClient) -> None:
    period = {"from": at(3), "to": at(20)}
    told = (await http.get(PATH, params=period)).json()
    answer = await http.get(PATH, params={**period, "format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="alice.csv"'
    assert answer.text.endswith("\r\n")
    opening, *lines, closing = list(csv.DictReader(io.StringIO(answer.text)))
    for edge, name in ((opening, "opening"), (closing, "closing")):
        assert (edge["line"], edge["transfer_id"]) == (name, "")
        shown = {"revision": int(edge["revision"]), "total": edge["total"], "balance": edge["balance"]}
        assert shown == told[name]
    assert {line["line"] for line in lines} == {"transfer"}
    for line, one in zip(lines, told["transfers"], strict=True):
        assert line["balance"] == str(100 + Decimal(one["total"]))
        assert (line["transfer_id"], line["revision"]) == (one["id"], str(one["revision"]))
        assert all(line[name] == one[name] for name in ("amount", "total", "occurred_at", "source"))


async def test_of_nothing(http: httpx.AsyncClient, projector: FakeProjector) -> None:
    empty = {"revision": 0, "total": "0", "balance": None}
    told = (await http.get("/api/v1/accounts/nobody/statement")).json()
    assert (told["revision"], told["opening"], told["closing"], told["transfers"]) == (0, empty, empty, [])
    lines = (await http.get("/api/v1/accounts/nobody/statement?format=csv")).text.splitlines()
    assert lines[1:] == ["opening,0,,,0,,,", "closing,0,,,0,,,"]


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2026-02-30T00:00:00Z",
        "from=2026-01-01",
        "to=2026-01-01T00:00:00",
        "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "format=pdf",
    ],
)
async def test_what_is_no_period_or_form(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_parameter")
    assert (await http.get(PATH)).status_code == 200  # and nobody is thought to be reading


async def test_only_for_whom_it_is(http: httpx.AsyncClient) -> None:
    answer = await http.get(PATH, headers=bearer(token(["bob"])))
    assert (answer.status_code, answer.json()["code"]) == (403, "no_access")
    assert (await http.get(PATH, headers={"authorization": ""})).status_code == 401


async def cut(http: httpx.AsyncClient, query: str = "") -> str:
    """What came of a statement whose connection was closed on it."""
    got = b""
    async with http.stream("GET", f"{PATH}{query}") as answer:
        assert answer.status_code == 200
        try:
            async for chunk in answer.aiter_bytes():
                got += chunk
        except httpx.RemoteProtocolError:
            return got.decode()
    raise AssertionError("it came to its end")


def before_page(number: int, monkeypatch: pytest.MonkeyPatch, then: Callable[[], Awaitable[None]]) -> None:
    """Something happens once, just before that page is read."""
    read, count = gateway_reads.read_newer, 0

    async def newer(*given: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            await then()
        return await read(*given)

    monkeypatch.setattr(gateway_reads, "read_newer", newer)


@pytest.mark.parametrize("query", ["", "?format=csv"])
async def test_one_whose_epoch_ends_is_cut_off(
    http: httpx.AsyncClient, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    before_page(3, monkeypatch, lambda: projector.change_epoch("00000000000000a2"))
    got = await cut(http, query)
    assert "t-9" in got
    assert "t-10" not in got
    assert not got.endswith("]}")
    assert "closing," not in got
    assert (await http.get(PATH)).json()["epoch"] == "00000000000000a2"


async def test_one_whose_account_is_erased_is_cut_off(
    http: httpx.AsyncClient, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_page(2, monkeypatch, lambda: projector.erase("alice"))
    await cut(http)


async def test_one_that_may_not_be_seen_any_more_is_cut_off(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    may = RequestAuth.may_see
    count = 0

    def see(*given: Any) -> bool:
        nonlocal count
        count += 1
        return count < 4 and may(*given)

    monkeypatch.setattr(RequestAuth, "may_see", see)
    await cut(http)


async def test_one_that_takes_too_long_is_cut_off(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "DEADLINE_SECONDS", 0.0)
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(PATH)
    monkeypatch.undo()
    assert (await http.get(PATH)).status_code == 200
