"""REST: lists of accounts, an account's snapshot, transfers of any age, and errors with a stable code."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from livebalance.gateway.app import GatewayServer
from livebalance.stack.paths import free_port
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.timestamp import format_rfc3339
from tests.integration.gateway.conftest import RunningGateway, StartGateway, readiness_with
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.database import Database
from tests.tokens import bearer


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as client:
        yield client


async def all_pages(http: httpx.AsyncClient, path: str, name: str, param: str) -> list[Any]:
    """Returns the items of all pages."""
    items: list[Any] = []
    page = (await http.get(path)).json()
    while True:
        items += page[name]
        if page["next"] is None:
            return items
        page = (await http.get(path, params={param: page["next"], "limit": "7"})).json()


async def test_accounts_are_listed_by_prefix_and_page(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    names = [f"acc-{number:02}" for number in range(20)] + ["bob", "zoe"]
    await projector.open(*names)
    listed = await all_pages(http, "/api/v1/accounts?limit=7", "accounts", "cursor")
    assert [account["account"] for account in listed] == names
    assert listed[0] == {
        "account": "acc-00",
        "epoch": projector.epoch,
        "revision": 1,
        "balance": listed[0]["balance"],
    }
    assert listed[0]["balance"]["amount"] == "0.00"
    by_prefix = await http.get("/api/v1/accounts", params={"prefix": "acc-1"})
    assert [account["account"] for account in by_prefix.json()["accounts"]] == names[10:20]
    assert by_prefix.json()["next"] is None
    none = await http.get("/api/v1/accounts", params={"prefix": "nobody"})
    assert none.json() == {"accounts": [], "next": None, "as_of": format_rfc3339(projector.as_of)}


async def test_list_of_accounts_names_no_time_while_a_lane_is_not_complete(
    http: httpx.AsyncClient, projector: FakeProjector, database: Database
) -> None:
    await projector.open("alice")
    assert (await http.get("/api/v1/accounts")).json()["as_of"] == format_rfc3339(projector.as_of)
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute("update lane set as_of = null where lane = 1")
    await owner.close()
    assert (await http.get("/api/v1/accounts")).json()["as_of"] is None


async def test_account_equals_a_snapshot_frame(
    http: httpx.AsyncClient, gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", *range(1, 61))
    body = (await http.get("/api/v1/accounts/alice")).json()
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 121)
        assert body == client.of_type("snapshot")[0]
    empty = (await http.get("/api/v1/accounts/nobody")).json()
    assert (empty["revision"], empty["balance"], empty["transfers"]) == (0, None, [])


async def test_cursor_of_a_snapshot_continues_with_older_transfers(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", *range(1, 101))
    body = (await http.get("/api/v1/accounts/alice")).json()
    older = await all_pages(
        http, f"/api/v1/accounts/alice/transfers?cursor={body['cursor']}", "transfers", "cursor"
    )
    ids = [transfer["id"] for transfer in body["transfers"] + older]
    assert ids == [transfer.id for transfer in reversed(projector.account("alice").transfers)]
    newest = (await http.get("/api/v1/accounts/alice/transfers?limit=3")).json()
    assert newest["transfers"] == body["transfers"][:3]


async def test_transfers_after_a_revision_are_oldest_first(
    http: httpx.AsyncClient, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", *range(1, 31))
    transfers = await all_pages(
        http, "/api/v1/accounts/alice/transfers?after_revision=21", "transfers", "after_revision"
    )
    assert [transfer["id"] for transfer in transfers] == [
        transfer.id for transfer in projector.account("alice").transfers[10:]
    ]


async def test_transfer_is_found_by_its_id(http: httpx.AsyncClient, projector: FakeProjector) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 1250)
    transfer = (await http.get("/api/v1/accounts/alice/transfers/t-0")).json()
    assert transfer == {
        "id": "t-0",
        "amount": "12.50",
        "total": "12.50",
        "occurred_at": projector.account("alice").transfers[0].occurred_at,
        "recorded_at": "2026-11-18T11:06:40.000Z",
        "revision": 2,
        "source": projector.account("alice").transfers[0].source,
    }
    assert (await http.get("/api/v1/accounts/alice/transfers/t-1")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/accounts?limit=501", 422, "bad_parameter"),
        ("/accounts?limit=0", 422, "bad_parameter"),
        ("/accounts?prefix=a%27b", 422, "bad_parameter"),
        ("/accounts/a%00b", 422, "bad_parameter"),
        ("/accounts/alice/transfers?cursor=junk", 422, "bad_cursor"),
        ("/accounts/alice/transfers?after_revision=-1", 422, "bad_parameter"),
        ("/accounts/alice/transfers?after_revision=1&cursor=x", 422, "bad_parameter"),
        ("/accounts/alice/transfers?after_revision=99999999999999999999", 422, "bad_parameter"),
        ("/accounts/alice/transfers/none", 404, "not_found"),
        ("/nothing/here", 404, "not_found"),
    ],
)
async def test_errors_have_a_code_and_echo_nothing(
    http: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    response = await http.get(f"/api/v1{path}")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert "junk" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_cursor_of_another_list_is_rejected(http: httpx.AsyncClient, projector: FakeProjector) -> None:
    await projector.open("alice")
    other = encode_cursor(AccountId("bob"), TransferId("t-1"))
    response = await http.get("/api/v1/accounts/alice/transfers", params={"cursor": other})
    assert (response.status_code, response.json()["code"]) == (422, "bad_cursor")
    erased = encode_cursor(AccountId("alice"), TransferId("never-there"))
    response = await http.get("/api/v1/accounts/alice/transfers", params={"cursor": erased})
    assert (response.status_code, response.json()["code"]) == (410, "cursor_gone")


async def test_other_methods_get_405(http: httpx.AsyncClient) -> None:
    assert (await http.request("TRACE", "/api/v1/accounts")).status_code == 405
    assert (await http.delete("/api/v1/accounts/alice")).status_code in (404, 405)


async def test_operations_port_alone_serves_probes_and_metrics(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("the page")
    gateway = await start_gateway(page_directory=tmp_path, allowed_hosts=("public.example",))
    async with httpx.AsyncClient(base_url=gateway.operations, timeout=30) as operations:
        assert (await operations.get("/livez")).text == "ok\n"
        assert (await operations.get("/readyz")).text == "ok\n"
        assert "livebalance_gateway_sessions" in (await operations.get("/metrics")).text
        assert (await operations.get("/api/v1/accounts", headers=bearer())).status_code == 404
    browser = {"Accept": "text/html", "Host": "public.example"}
    async with httpx.AsyncClient(base_url=gateway.http, headers=browser, timeout=30) as public:
        assert (await public.get("/account/alice")).text == "the page"
        for path in ("/livez", "/readyz", "/metrics", "/readyz?exclude=halted"):
            assert (await public.get(path)).status_code == 404, path


async def test_gateway_is_not_ready_before_its_port_is_open(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, startup, operations_port = asyncio.Event(), GatewayServer.startup, free_port()

    async def held_startup(server: GatewayServer, sockets: list[socket.socket] | None = None) -> None:
        await opening.wait()
        await startup(server, sockets)

    monkeypatch.setattr(GatewayServer, "startup", held_startup)
    starting = asyncio.ensure_future(start_gateway(operations_port=operations_port))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{operations_port}", timeout=30) as operations:
        assert await readiness_with(operations, "port", "ok") == "the port is not open yet\n"
    opening.set()
    gateway = await starting
    async with WebSocketClient(gateway.ws):
        pass


async def test_openapi_document_is_encoded_once_and_revalidated(http: httpx.AsyncClient) -> None:
    first = await http.get("/api/openapi.json")
    assert "/api/v1/accounts" in first.json()["paths"]
    again = await http.get("/api/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await http.get("/api/openapi.json", headers={"If-None-Match": '"other"'})).status_code == 200
