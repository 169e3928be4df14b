"""Whatever says no over HTTP is a problem with a code, and echoes nothing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from livebalance.readmodel import gateway_reads
from livebalance.wire.problem import MEDIA_TYPE, ProblemCode
from tests.integration.gateway.bad_input.conftest import log  # noqa: F401 - a fixture
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.tokens import bearer


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"], told["type"]) == (status, code, "about:blank")
    assert code in get_args(ProblemCode)
    assert told["title"]
    assert told["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "payload" not in answer.text
    return told


@pytest.fixture
async def http(start_gateway: StartGateway, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "index.html").write_text("<!doctype html>")
    gateway = await start_gateway(page_directory=tmp_path)
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer()) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/payload", 404, "not_found"),
        ("GET", "/api/v1/accounts/alice/transfers/payload", 404, "not_found"),
        ("GET", "/payload.js", 404, "not_found"),
        ("DELETE", "/api/v1/accounts", 405, "method"),
        ("PUT", "/index.html", 405, "method"),
        ("GET", "/api/v1/accounts?limit=payload&payload=1", 422, "bad_parameter"),
        ("GET", "/api/v1/accounts/payload%00", 422, "bad_parameter"),
        ("GET", "/api/v1/accounts?token=payload", 400, "token_in_url"),
    ],
)
async def test_by_status(http: httpx.AsyncClient, method: str, path: str, status: int, code: str) -> None:
    answer = await http.request(method, path)
    assert_problem(answer, status, code)
    assert ("allow" in answer.headers) == (status == 405)


async def test_what_a_library_says_no_with(http: httpx.AsyncClient) -> None:
    answer = await http.get("/index.html", headers={"range": "bytes=900-"})
    assert_problem(answer, 416, "ranges")
    assert answer.headers["content-range"] == "bytes */15"
    assert_problem(await http.get("/index.html", headers={"range": "bytes=payload"}), 400, "bad_request")


async def test_a_bug_has_a_name_and_nothing_else(
    http: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    log: Any,  # noqa: F811
) -> None:
    async def falls(*_: object) -> None:
        raise RuntimeError("payload")

    monkeypatch.setattr(gateway_reads, "list_accounts", falls)
    told = assert_problem(await http.get("/api/v1/accounts"), 500, "internal")
    lines = [line for line in map(json.loads, log.lines) if line["event"] == "a request met a bug"]
    assert [line["error_id"] for line in lines] == [told["error_id"]]
    assert "RuntimeError" in lines[0]["exception"]
    assert len(log.lines) == 2  # and that it was answered no


async def test_not_ready(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_period_seconds=3.0)
    async with WebSocketClient(gateway.ws) as client, httpx.AsyncClient(base_url=gateway.http) as http:
        await client.until(lambda: client.of_type("welcome"))
        gateway.request_stop()
        answer = await http.get("/readyz")
        while answer.status_code == 200:
            answer = await http.get("/readyz")
        assert assert_problem(answer, 503, "not_ready")["detail"] == "draining"
        assert answer.headers["retry-after"]
