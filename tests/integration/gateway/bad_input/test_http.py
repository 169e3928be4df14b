"""Bad HTTP requests: methods, ranges and parameters, and what the log shows of them."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.integration.gateway.bad_input.conftest import MakeScene, Scene
from tests.integration.gateway.bad_input.raw import HANDSHAKE_HEAD
from tests.tokens import token

SIZE = 20_000  # bytes of the page's script


def request(method: str, path: str, headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n".encode()


@pytest.fixture
async def paged(make_scene: MakeScene, tmp_path: Path) -> Scene:
    """A gateway that serves a built page."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "main-5QK3W7ZX.js").write_text("x" * SIZE)
    return await make_scene(page_directory=tmp_path)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/accounts?limit=501&x=payload", "bad_parameter"),
        ("/api/v1/accounts?limit=payload", "bad_parameter"),
        ("/api/v1/accounts?prefix=payload%27%20or%201", "bad_parameter"),
        ("/api/v1/accounts/alice/transfers?cursor=payload", "bad_cursor"),
        ("/api/v1/accounts/alice/transfers?after_revision=-1&x=payload", "bad_parameter"),
        ("/api/v1/accounts/alice/statement?from=payload", "bad_parameter"),
        ("/api/v1/accounts/alice/statement?from=2026-02-30T00:00:00Z&x=payload", "bad_parameter"),
        ("/api/v1/accounts/payload%00", "bad_parameter"),
        ("/api/v1/events?x=payload", "bad_parameter"),
        ("/api/v1/events?account=alice&account=payload%0a", "bad_parameter"),
        ("/api/v1/events?" + "&".join(f"account=payload-{number}" for number in range(17)), "bad_parameter"),
    ],
)
async def test_row_31_bad_parameter_gets_422_without_echo(scene: Scene, path: str, code: str) -> None:
    response = await scene.send_request(request("GET", path, f"Authorization: Bearer {token()}\r\n"))
    assert (response.status, response.code) == (422, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert b"payload" not in response.body
    await scene.assert_logged("error response sent", "payload", status=422)


@pytest.mark.parametrize("path", ["/api/v1/accounts", "/metrics", "/", "/main-5QK3W7ZX.js"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "TRACE", "PROPFIND", "M-SEARCH", "SOURCE"])
async def test_row_34_method_not_served_gets_405(paged: Scene, method: str, path: str) -> None:
    response = await paged.send_request(request(method, path, "X-Payload: payload\r\n"))
    assert response.status == 405
    assert b"payload" not in response.body
    await paged.assert_logged("error response sent", "payload", status=405, method=method)


@pytest.mark.parametrize("method", ["PAYLOAD", "get", "CONNECT"])
async def test_row_34_unknown_method_gets_405(scene: Scene, method: str) -> None:
    response = await scene.send_request(request(method, "here:80" if method == "CONNECT" else "/"))
    assert (response.status, response.code) == (405, "method")
    assert response.headers["allow"] == "GET, HEAD"
    await scene.assert_logged("request rejected", "PAYLOAD", reason="method", status=405)


async def test_row_34_handshake_with_another_method_gets_405(scene: Scene) -> None:
    response = await scene.send_request(HANDSHAKE_HEAD.replace(b"GET", b"DELETE") + b"\r\n")
    assert (response.status, response.code) == (405, "method")
    await scene.assert_logged("request rejected", reason="method", status=405)


@pytest.mark.parametrize(
    ("ranges", "status"),
    [
        ("bytes=0-9", 206),
        ("bytes=-5", 206),
        ("bytes=" + ",".join(["0-"] * 8), 206),
        ("bytes=" + ",".join(f"{2 * number}-{2 * number}" for number in range(8)), 206),
        ("bytes=" + ",".join(["0-"] * 9), 416),
        ("bytes=" + ",".join(f"{2 * number}-{2 * number}" for number in range(900)), 416),
        (f"bytes={SIZE}-", 416),
        (f"bytes={SIZE * 10}-{SIZE * 20}", 416),
    ],
)
async def test_row_35_range_responses_are_not_larger_than_the_file(
    paged: Scene, ranges: str, status: int
) -> None:
    """A response is at most as large as the file, plus the heads of its parts."""
    response = await paged.send_request(request("GET", "/main-5QK3W7ZX.js", f"Range: {ranges}\r\n"))
    assert response.status == status
    assert len(response.body) < SIZE + 2_000
    if status == 206:
        await paged.assert_neighbour_unaffected()
        paged.assert_log()
    elif ranges.count(",") > 7:
        await paged.assert_logged("request rejected", ranges, reason="ranges", status=416)
    else:
        await paged.assert_logged("error response sent", ranges, status=416)


@pytest.mark.parametrize("ranges", ["bytes=9-1", "bytes=a-b", "lines=1-2", "bytes=", "=", "bytes=1-2-3"])
async def test_row_35_invalid_range_sends_at_most_the_file(paged: Scene, ranges: str) -> None:
    response = await paged.send_request(request("GET", "/main-5QK3W7ZX.js", f"Range: {ranges}\r\n"))
    assert response.status in (200, 400, 416)
    assert len(response.body) <= SIZE
    await paged.assert_neighbour_unaffected()
    paged.assert_log(ranges, lines=0 if response.status == 200 else 1)


@pytest.mark.parametrize(
    "sent",
    [
        request("GET", "/api/v1/%0d%0aforged%1b[31m?token=payload"),
        request("GET", "/api/v1/x", 'User-Agent: \x1b[31m{"event":"forged"}\r\nCookie: payload\r\n'),
        request("GET", "/api/v1/x", "X-Forwarded-For: 1.2.3.4\tforged payload\r\n"),
        b"GET /api/v1/x HTTP/1.1\r\nHost: here\r\nX: a\nforged: payload\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/x\x0bforged HTTP/1.1\r\nHost: payload\r\n\r\n",
    ],
)
async def test_row_36_control_characters_do_not_reach_the_log(scene: Scene, sent: bytes) -> None:
    response = await scene.send_request(sent)
    assert response.status in (400, 404)
    await scene.assert_logged(
        "error response sent" if response.status == 404 else "request rejected", "forged", "payload", "[31m"
    )


@pytest.mark.parametrize("path", ["alice", "alice/transfers"])
@pytest.mark.parametrize("max_waiters", [64, 0])
async def test_row_32_revision_far_ahead_gets_409_after_a_short_wait(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, path: str, max_waiters: int
) -> None:
    """The request waits for a short time, or not at all if too many requests wait already."""
    monkeypatch.setattr("livebalance.gateway.api.queries.MAX_WAITERS", max_waiters)
    if not max_waiters:
        monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 3600.0)
    began = time.monotonic()
    far = f"/api/v1/accounts/{path}?min_revision={2**53 - 1}&x=payload"
    response = await scene.send_request(request("GET", far, f"Authorization: Bearer {token()}\r\n"))
    elapsed = time.monotonic() - began
    assert (response.status, response.code, response.headers["retry-after"]) == (409, "not_yet", "1")
    assert response.headers["content-type"] == "application/problem+json"
    assert b"payload" not in response.body
    assert elapsed > 1 or not max_waiters
    await scene.assert_logged("error response sent", "payload", status=409)


@pytest.mark.parametrize("revision", ["-1", "payload", str(2**53), "1.5", "1e3", ""])
async def test_row_32_invalid_revision_gets_422(scene: Scene, revision: str) -> None:
    path = f"/api/v1/accounts/alice?min_revision={revision}&x=payload"
    response = await scene.send_request(request("GET", path, f"Authorization: Bearer {token()}\r\n"))
    assert (response.status, response.code) == (422, "bad_parameter")
    assert b"payload" not in response.body
    await scene.assert_logged("error response sent", "payload", status=422)


async def test_row_32_waiting_requests_do_not_delay_other_requests(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 requests wait for a revision; another request is answered before it comes."""
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 30.0)
    await scene.projector.open("alice")
    far = request("GET", "/api/v1/accounts/alice?min_revision=3", f"Authorization: Bearer {token()}\r\n")
    waiting = [asyncio.create_task(scene.send_request(far)) for _ in range(100)]
    near = request("GET", "/api/v1/accounts", f"Authorization: Bearer {token()}\r\n")
    assert (await scene.send_request(near)).status == 200
    assert not any(task.done() for task in waiting)
    await scene.projector.transfer("alice", 5)
    assert {(await task).status for task in waiting} == {200}
    await scene.assert_neighbour_unaffected()
