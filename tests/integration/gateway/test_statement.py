"""Statements over REST: JSON and CSV, periods, and statements that are aborted."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from livebalance.gateway.api import statements
from livebalance.gateway.auth import authenticator
from livebalance.gateway.clock import wall
from livebalance.readmodel import account_pages
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import START, FakeProjector
from tests.integration.gateway.test_auth import revoke_and_wait
from tests.servers.database import Database
from tests.tokens import bearer, token

PATH = "/api/v1/accounts/alice/statement"
MANY = 23


@pytest.fixture
async def http(
    gateway: RunningGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """The account alice has 23 transfers, 1 ms apart; a page has 5."""
    monkeypatch.setattr(statements, "PAGE_ROWS", 5)
    await projector.open("alice", "bob")
    await projector.transfer("alice", *range(-3, MANY - 3))
    await projector.execute("update balance set opening = 100.00 where account_id = 'alice'")
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as client:
        yield client


def recorded_at(number: int) -> str:
    """Returns the time of the transfer with this number."""
    return format_rfc3339(Millis(START + number))


async def test_statement_without_a_period_has_all_transfers(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    response = await http.get(PATH)
    assert response.headers["content-type"] == "application/json"
    statement = response.json()
    page = projector.account("alice")
    assert [transfer["id"] for transfer in statement.pop("transfers")] == [
        transfer.id for transfer in page.transfers
    ]
    assert statement == {
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
async def test_period_includes_from_and_excludes_to(http: httpx.AsyncClient, first: int, last: int) -> None:
    statement = (await http.get(PATH, params={"from": recorded_at(first), "to": recorded_at(last)})).json()
    ids = [f"t-{number}" for number in range(first, min(last, MANY))]
    assert [transfer["id"] for transfer in statement["transfers"]] == ids
    total = sum(Decimal(transfer["amount"]) for transfer in statement["transfers"])
    assert Decimal(statement["opening"]["balance"]) + total == Decimal(statement["closing"]["balance"])
    if first:
        assert statement["opening"]["revision"] == 2 * first


async def test_csv_equals_json(http: httpx.AsyncClient) -> None:
    period = {"from": recorded_at(3), "to": recorded_at(20)}
    statement = (await http.get(PATH, params=period)).json()
    response = await http.get(PATH, params={**period, "format": "csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["content-disposition"] == 'attachment; filename="alice.csv"'
    assert response.text.endswith("\r\n")
    opening, *lines, closing = list(csv.DictReader(io.StringIO(response.text)))
    for edge, name in ((opening, "opening"), (closing, "closing")):
        assert (edge["line"], edge["transfer_id"]) == (name, "")
        values = {"revision": int(edge["revision"]), "total": edge["total"], "balance": edge["balance"]}
        assert values == statement[name]
    assert {line["line"] for line in lines} == {"transfer"}
    for line, transfer in zip(lines, statement["transfers"], strict=True):
        assert line["balance"] == str(100 + Decimal(transfer["total"]))
        assert (line["transfer_id"], line["revision"]) == (transfer["id"], str(transfer["revision"]))
        assert all(line[name] == transfer[name] for name in ("amount", "total", "occurred_at", "source"))


async def test_statement_of_an_unknown_account_is_empty(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    empty = {"revision": 0, "total": "0", "balance": None}
    statement = (await http.get("/api/v1/accounts/nobody/statement")).json()
    assert (statement["revision"], statement["opening"], statement["closing"], statement["transfers"]) == (
        0,
        empty,
        empty,
        [],
    )
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
async def test_invalid_period_or_format_gets_422(http: httpx.AsyncClient, query: str) -> None:
    response = await http.get(f"{PATH}?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")
    assert (await http.get(PATH)).status_code == 200  # the user is not counted as reading a statement


async def test_statement_needs_a_token_for_the_account(http: httpx.AsyncClient) -> None:
    response = await http.get(PATH, headers=bearer(token(["bob"])))
    assert (response.status_code, response.json()["code"]) == (403, "no_access")
    assert (await http.get(PATH, headers={"authorization": ""})).status_code == 401


async def read_aborted(http: httpx.AsyncClient, query: str = "") -> str:
    """Returns what was received of a statement that the gateway aborts."""
    received = b""
    async with http.stream("GET", f"{PATH}{query}") as response:
        assert response.status_code == 200
        try:
            async for chunk in response.aiter_bytes():
                received += chunk
        except httpx.RemoteProtocolError:
            return received.decode()
    raise AssertionError("the statement was not aborted")


def before_page(number: int, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Awaitable[None]]) -> None:
    """Makes `action` happen once, just before the page with this number is read."""
    read, count = account_pages.read_newer, 0

    async def newer(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            await action()
        return await read(*arguments)

    monkeypatch.setattr(account_pages, "read_newer", newer)


@pytest.mark.parametrize("query", ["", "?format=csv"])
async def test_statement_is_aborted_if_the_epoch_changes(
    http: httpx.AsyncClient, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    before_page(3, monkeypatch, lambda: projector.change_epoch("00000000000000a2"))
    received = await read_aborted(http, query)
    assert "t-9" in received
    assert "t-10" not in received
    assert not received.endswith("]}")
    assert "closing," not in received
    assert (await http.get(PATH)).json()["epoch"] == "00000000000000a2"


async def test_statement_is_aborted_if_the_account_is_erased(
    http: httpx.AsyncClient, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_page(2, monkeypatch, lambda: projector.erase("alice"))
    await read_aborted(http)


@pytest.mark.parametrize("account", [None, "alice"])
@pytest.mark.parametrize("query", ["", "?format=csv"])
async def test_statement_is_aborted_if_rights_are_revoked(
    *,
    gateway: RunningGateway,
    http: httpx.AsyncClient,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    account: AccountId | None,
    query: str,
) -> None:
    http.headers.update(bearer(token(sub="me")))
    before_page(3, monkeypatch, lambda: revoke_and_wait(gateway, database, account=account))
    received = await read_aborted(http, query)
    assert ("t-9" in received, "t-10" in received) == (True, False)


async def test_statement_is_aborted_if_the_token_expires(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def expire() -> None:
        monkeypatch.setattr(authenticator, "wall", lambda: wall() + 3660_000)

    http.headers.update(bearer(token(seconds=3600)))
    before_page(3, monkeypatch, expire)
    received = await read_aborted(http)
    assert ("t-9" in received, "t-10" in received) == (True, False)


async def test_statement_is_aborted_at_its_deadline(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "DEADLINE_SECONDS", 0.0)
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(PATH)
    monkeypatch.undo()
    assert (await http.get(PATH)).status_code == 200
