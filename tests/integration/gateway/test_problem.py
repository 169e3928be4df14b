"""Every HTTP error is a problem with a code, and repeats nothing that the client sent."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from livebalance.readmodel import account_pages
from livebalance.wire.problem import MEDIA_TYPE, ProblemCode
from tests.integration.gateway.bad_input.conftest import log  # noqa: F401 - a fixture
from tests.integration.gateway.conftest import StartGateway
from tests.tokens import bearer


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    problem: dict[str, Any] = response.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, "about:blank")
    assert code in get_args(ProblemCode)
    assert problem["title"]
    assert problem["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "payload" not in response.text
    return problem


@pytest.fixture
async def http(start_gateway: StartGateway, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "index.html").write_text("<!doctype html>")
    gateway = await start_gateway(page_directory=tmp_path)
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as client:
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
async def test_error_response_is_a_problem(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await http.request(method, path)
    assert_problem(response, status, code)
    assert ("allow" in response.headers) == (status == 405)


async def test_error_response_of_a_library_becomes_a_problem(http: httpx.AsyncClient) -> None:
    response = await http.get("/index.html", headers={"range": "bytes=900-"})
    assert_problem(response, 416, "ranges")
    assert response.headers["content-range"] == "bytes */15"
    assert_problem(await http.get("/index.html", headers={"range": "bytes=payload"}), 400, "bad_request")


async def test_bug_gets_500_with_an_error_id_and_no_details(
    http: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    log: Any,  # noqa: F811
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("payload")

    monkeypatch.setattr(account_pages, "list_accounts", fail)
    problem = assert_problem(await http.get("/api/v1/accounts"), 500, "internal")
    lines = [line for line in map(json.loads, log.lines) if line["event"] == "request handler failed"]
    assert [line["error_id"] for line in lines] == [problem["error_id"]]
    assert "RuntimeError" in lines[0]["exception"]
    assert len(log.lines) == 2  # the other one is the access log
