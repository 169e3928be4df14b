"""Searches over REST: transfers that match as JSON and CSV, and the points of a chart."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json

from livebalance.gateway.api import search
from livebalance.readmodel import account_pages, gateway_reads, statements
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import START, FakeProjector
from tests.integration.gateway.test_auth import revoke_and_wait
from tests.integration.gateway.test_query_plans import plan_nodes
from tests.servers.database import Database
from tests.tokens import bearer, token

PATH = "/api/v1/accounts/alice/search"
AMOUNTS = [1250, -300, 0, 99, -100_000, 300, -1, 5, 250, -250, 7, 1]  # in cents; t-0 is the first
MANY = 2 * statements.SCAN_ROWS + 100

Transfer = dict[str, Any]
Matches = Callable[[Transfer], bool]


@pytest.fixture
async def http(gateway: RunningGateway, projector: FakeProjector) -> AsyncIterator[httpx.AsyncClient]:
    """The account alice has transfers 1 ms apart, between those of bob."""
    await projector.open("alice", "bob")
    await projector.transfer("alice", *AMOUNTS[:6])
    await projector.transfer("bob", *AMOUNTS)
    await projector.transfer("alice", *AMOUNTS[6:])
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as client:
        yield client


def recorded_at(number: int) -> str:
    """Returns the time of the transfer with this number."""
    return format_rfc3339(Millis(START + number))


async def read_all(http: httpx.AsyncClient, query: dict[str, Any]) -> list[Transfer]:
    """Returns the transfers of all pages."""
    transfers, cursor = list[Transfer](), dict[str, str]()
    while True:
        page = (await http.get(PATH, params={**query, **cursor})).json()
        transfers += page["transfers"]
        if page["next"] is None:
            return transfers
        cursor = {"cursor": page["next"]}


def amount(transfer: Transfer) -> Decimal:
    return Decimal(transfer["amount"])


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({}, lambda _: True),
        ({"direction": "in"}, lambda transfer: amount(transfer) > 0),
        ({"direction": "out"}, lambda transfer: amount(transfer) < 0),
        ({"min_amount": "2.5", "max_amount": "12.50"}, lambda transfer: 2.5 <= abs(amount(transfer)) <= 12.5),
        ({"id": "-1"}, lambda transfer: "-1" in transfer["id"]),
        ({"id": "T-1"}, lambda _: False),
        (
            {"from": recorded_at(3), "to": recorded_at(8)},
            lambda transfer: recorded_at(3) <= transfer["occurred_at"] < recorded_at(8),
        ),
        (
            {"from": recorded_at(1), "direction": "out", "max_amount": "3"},
            lambda transfer: transfer["id"] != "t-0" and -3 <= amount(transfer) < 0,
        ),
    ],
)
@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_search_returns_each_transfer_that_matches_once(
    http: httpx.AsyncClient, projector: FakeProjector, query: dict[str, str], matches: Matches, limit: int
) -> None:
    everything = (await http.get("/api/v1/accounts/alice/transfers")).json()["transfers"]
    assert len(everything) == len(AMOUNTS)
    expected = [transfer for transfer in everything if matches(transfer)]
    assert await read_all(http, {**query, "limit": limit}) == expected
    lines = list(csv.DictReader(io.StringIO((await http.get(f"{PATH}.csv", params=query)).text)))
    assert [line["transfer_id"] for line in lines] == [transfer["id"] for transfer in expected]
    for line, transfer in zip(lines, expected, strict=True):
        assert line["balance"] == transfer["total"]  # the account was opened with 0.00
        assert all(line[name] == transfer[name] for name in ("amount", "total", "occurred_at", "source"))


async def test_search_of_a_long_account_continues_below_transfers_that_do_not_match(
    http: httpx.AsyncClient, projector: FakeProjector, database: Database
) -> None:
    await projector.open("long", *(f"cold-{number}" for number in range(100)))
    await projector.execute(
        "insert into transfer select 'long', n, 't-' || n, 1.5, n * 1.5, now(), now(), 'transfers', 0, n"
        " from generate_series(2, $1::int) n",
        MANY,
    )
    await projector.execute(
        "insert into transfer select 'cold-' || a, n, 't-' || n, 1.5, 1.5, now(), now(), 'transfers', 0, n"
        " from generate_series(0, 99) a, generate_series(2, 40) n"
    )
    await projector.execute("update balance set revision = $1 where account_id = 'long'", MANY)
    path, counts, cursor = "/api/v1/accounts/long/search", list[int](), dict[str, str]()
    while True:
        page = (await http.get(path, params={"id": "t-777", **cursor})).json()
        counts.append(len(page["transfers"]))
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert counts == [10, 1, 0]  # t-7770 to t-7779, t-777, none

    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute("analyze")  # before the server does it at a time of its own
    await owner.close()
    connection = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    try:
        for statement, arguments in (
            (statements._SEARCH, "'long', null, null, null, null, null, 'none', null, 51"),
            (statements._SEARCH, "'long', null, null, null, null, null, 'none', 't-5000', 51"),
            (account_pages._OLDER, "'long', 't-5000', 50"),
            (account_pages._NEWER, "'long', 5000, 50"),
            (statements._CHART, "'long', null, null, 200"),
        ):
            await connection.execute("deallocate all")
            await connection.execute(f"prepare s as {statement}")
            (row,) = await connection.fetch(f"explain (analyze, format json) execute s({arguments})")
            scans = [
                node
                for node in plan_nodes(json.decode(row[0])[0]["Plan"])
                if node.get("Relation Name") == "transfer" and node["Actual Loops"] > 0
            ]
            assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
            assert max(node["Actual Rows"] for node in scans) <= statements.SCAN_ROWS
            assert all(not node.get("Rows Removed by Filter") for node in scans)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "query",
    [
        "direction=up",
        "min_amount=-1",
        "min_amount=1e3",
        "max_amount=",
        "id=a%20b",
        "from=2026-02-30T00:00:00Z",
    ],
)
@pytest.mark.parametrize("path", [PATH, f"{PATH}.csv"])
async def test_search_with_an_invalid_condition_gets_422(
    http: httpx.AsyncClient, path: str, query: str
) -> None:
    response = await http.get(f"{path}?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "bad_parameter")


@pytest.mark.parametrize("path", ["search", "search.csv", "chart"])
async def test_search_needs_a_token_for_the_account(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(f"/api/v1/accounts/alice/{path}", headers=bearer(token(["bob"])))
    assert (response.status_code, response.json()["code"]) == (403, "no_access")


async def test_search_below_an_erased_transfer_says_so(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    cursor = (await http.get(PATH, params={"limit": 3})).json()["next"]
    await projector.erase("alice")
    response = await http.get(PATH, params={"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (410, "cursor_gone")


@pytest.mark.parametrize("event", ["the account is erased", "the user is revoked"])
async def test_csv_is_aborted_if_access_ends_meanwhile(
    *,
    gateway: RunningGateway,
    http: httpx.AsyncClient,
    projector: FakeProjector,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    event: str,
) -> None:
    monkeypatch.setattr(search, "PAGE_ROWS", 5)
    real, pages = statements.search_transfers, 0

    async def search_transfers(*arguments: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:
            if event == "the account is erased":
                await projector.erase("alice")
            else:
                await revoke_and_wait(gateway, database)
        return await real(*arguments)

    monkeypatch.setattr(statements, "search_transfers", search_transfers)
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(f"{PATH}.csv", headers=bearer(token(sub="me")))


@pytest.mark.parametrize("points", [1, 3, 5, 500])
async def test_chart_has_exact_totals_from_the_first_to_the_last_transfer(
    http: httpx.AsyncClient, points: int
) -> None:
    everything = (await http.get("/api/v1/accounts/alice/transfers")).json()["transfers"][::-1]
    chart = (await http.get("/api/v1/accounts/alice/chart", params={"points": points})).json()
    totals = {transfer["revision"]: transfer["total"] for transfer in everything}
    revisions = [point["revision"] for point in chart["points"]]
    assert revisions == sorted(set(revisions))
    assert (revisions[0], revisions[-1]) == (everything[0]["revision"], everything[-1]["revision"])
    assert len(revisions) <= points + 1
    assert all(totals[point["revision"]] == point["total"] for point in chart["points"])
    assert chart["revision"] >= revisions[-1]
    if points == 500:
        assert len(revisions) == len(AMOUNTS)


async def test_chart_of_a_period_begins_with_the_transfer_before_it(http: httpx.AsyncClient) -> None:
    period = {"from": recorded_at(4), "to": recorded_at(9)}
    chart = (await http.get("/api/v1/accounts/alice/chart", params=period)).json()
    assert [point["recorded_at"] for point in chart["points"]] == [recorded_at(n) for n in range(3, 9)]
    assert (await http.get("/api/v1/accounts/nobody/chart")).json()["points"] == []


async def test_transfer_by_id_has_the_time_of_kafka(http: httpx.AsyncClient) -> None:
    transfer = (await http.get("/api/v1/accounts/alice/transfers/t-4")).json()
    assert transfer["recorded_at"] == recorded_at(4)
