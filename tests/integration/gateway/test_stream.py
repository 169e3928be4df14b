"""Server-sent events: the frames of a WebSocket, with the same rights and limits, resumed by event ids."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from livebalance.gateway.lifecycle import RETRY_AFTER_DRAIN_MS
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.gateway_reads import UnavailableError
from livebalance.wire.event_id import encode_event_id
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.integration.gateway.bad_input.test_access import Operator, operator  # noqa: F401 - a fixture
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.tokens import bearer, token

ORIGIN = "https://bank.example"

NAMED = {"X-Forwarded-For": "192.0.2.1"}  # as the balancer names a client


def frame_types(stream: SseClient) -> list[str]:
    return [frame["type"] for frame in stream.frames if frame["type"] not in ("status", "heartbeat")]


# --- snapshots and deltas


async def test_stream_has_the_same_snapshots_and_deltas_as_a_websocket(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice", "bob")
    await projector.transfer("alice", *range(1, 60))
    async with SseClient(gateway.http, "alice", "bob") as stream, WebSocketClient(gateway.ws) as client:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-store", "no")
        await client.subscribe("alice", "bob")
        await client.until_at("alice", 119)
        await client.until_at("bob", 1)
        await stream.until_at("alice", 119)
        await stream.until_at("bob", 1)
        assert sorted(frame_types(stream)) == ["ok", "snapshot", "snapshot", "welcome"]
        await projector.transfer("alice", 7)
        await projector.transfer("bob", 8, 9)
        await client.until_at("alice", 121)
        await client.until_at("bob", 5)
        assert_shows(await stream.until_at("bob", 5), projector.account("bob"))
        await stream.until_at("alice", 121)

        def of_type(type_: str, frames: list[Any]) -> list[Any]:
            matching = [frame for frame in frames if frame["type"] == type_]
            return sorted(matching, key=lambda frame: frame["channel"])

        for type_ in ("snapshot", "delta"):
            assert of_type(type_, stream.frames) == of_type(type_, client.frames)


async def test_heartbeats_are_sent(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(heartbeat_interval_seconds=0.1, audit_interval_seconds=0.2)
    await projector.open("alice")
    async with SseClient(gateway.http, "alice") as stream:
        await stream.until(lambda: any(beat["as_of"] for beat in stream.of_type("heartbeat")))


# --- resuming


async def test_stream_resumes_without_gap_or_repeat(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    first, second = await start_gateway(), await start_gateway()
    await projector.open("alice", "bob", "carol")
    async with SseClient(first.http, "alice", "bob") as stream:
        await stream.until_at("bob", 1)
        await projector.transfer("alice", 1, 2)
        await stream.until_at("alice", 5)
    await projector.transfer("alice", 3)
    await projector.transfer("carol", 3)
    async with SseClient(
        second.http, "alice", "bob", "carol", last_event_id=stream.last_event_id, shown=stream.shown
    ) as again:
        assert_shows(await again.until_at("alice", 7), projector.account("alice"))
        await again.until_at("carol", 3)
        await projector.transfer("bob", 4)
        assert_shows(await again.until_at("bob", 3), projector.account("bob"))
        data = [(frame["type"], frame["channel"]) for frame in again.frames if "channel" in frame]
        assert sorted(data[:2]) == [("delta", "account:alice"), ("snapshot", "account:carol")]
        assert data[2:] == [("delta", "account:bob")]
    async with SseClient(
        first.http, "bob", "alice", last_event_id=again.last_event_id, shown=again.shown
    ) as last:
        await last.until(lambda: last.of_type("ok"))
        await projector.transfer("alice", 4)
        await last.until_at("alice", 9)
        assert frame_types(last) == ["welcome", "ok", "delta"]


async def test_stream_resumes_from_every_event_id(gateway: RunningGateway, projector: FakeProjector) -> None:
    """Wherever the connection breaks, the client resumes from the last event that it has received."""
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "alice", "bob") as stream:
        await stream.until_at("alice", 1)
        await stream.until_at("bob", 1)
        for number in range(3):
            await projector.write({"alice": [number, None], "bob": [number, None]})
        await stream.until_at("alice", 7)
        await stream.until_at("bob", 7)
    assert len({event_id for event_id, _ in stream.points}) == 8
    for event_id, shown in stream.points:
        async with SseClient(gateway.http, "alice", "bob", last_event_id=event_id, shown=shown) as again:
            assert_shows(await again.until_at("alice", 7), projector.account("alice"))
            assert_shows(await again.until_at("bob", 7), projector.account("bob"))
            assert len(again.of_type("snapshot")) == 2 - len(shown)


@pytest.mark.parametrize(
    ("epoch", "revision", "reason"), [("00000000000000a1", 99, "ahead"), ("00000000000000ff", 1, "epoch")]
)
async def test_unknown_position_gets_a_snapshot(
    gateway: RunningGateway, projector: FakeProjector, epoch: str, revision: int, reason: str
) -> None:
    await projector.open("alice")
    event_id = encode_event_id({AccountId("alice"): Position(Epoch(epoch), Revision(revision))})
    async with SseClient(gateway.http, "alice", last_event_id=event_id) as stream:
        await stream.until_at("alice", 1)
        assert stream.of_type("snapshot")[0]["reason"] == reason


async def test_slow_reader_gets_every_transfer(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(send_buffer_bytes=4096, client_queue_bytes=8192, recovery_page_rows=20)
    await projector.open("alice", "bob")
    async with (
        SseClient(gateway.http, "alice", "bob", narrow=True) as slow,
        SseClient(gateway.http, "alice", "bob") as quick,
    ):
        await slow.until_at("alice", 1)
        slow.reading.clear()
        overflows = await gateway.counter("client_queue_overflows")
        for number in range(120):
            await projector.transfer("alice", *range(number, number + 20))
            await projector.transfer("bob", number)
        await quick.until_at("bob", 241)
        assert await gateway.counter("client_queue_overflows") > overflows
        slow.reading.set()
        assert_shows(await slow.until_at("alice", 4801, 30), projector.account("alice"))
        assert_shows(await slow.until_at("bob", 241), projector.account("bob"))
        assert len(slow.of_type("snapshot")) == 2


async def test_stalled_reader_is_aborted(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(
        send_buffer_bytes=4096, write_timeout_seconds=0.5, ping_interval_seconds=0.2
    )
    await projector.open("alice")
    async with SseClient(gateway.http, "alice", narrow=True) as stalled:
        await stalled.until_at("alice", 1)
        stalled.reading.clear()
        before = await gateway.counter("closed_connections", code="1006", reason="no_progress")
        async with asyncio.timeout(30):
            while await gateway.counter("closed_connections", code="1006", reason="no_progress") == before:
                await projector.transfer("alice", *range(50))
        await gateway.until_sessions(0)


async def test_unavailable_account_closes_the_stream_for_a_retry(
    gateway: RunningGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream's client cannot subscribe again, so it reconnects and resumes its other accounts."""
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "alice") as before:
        await before.until_at("alice", 1)
    with monkeypatch.context() as unavailable:

        async def fail(*_: object) -> None:
            raise UnavailableError

        unavailable.setattr(gateway_reads, "read_accounts", fail)
        async with SseClient(gateway.http, "alice", "bob", last_event_id=before.last_event_id) as stream:
            end = await stream.until_end()
            assert (end.code, end.reason) == (4013, "busy")
            assert stream.retry == end.retry_after_ms
            assert {error["code"] for error in stream.of_type("error")} == {"unavailable"}
    async with SseClient(
        gateway.http, "alice", "bob", last_event_id=before.last_event_id, shown=before.shown
    ) as again:
        await again.until_at("bob", 1)
        assert len(again.of_type("snapshot")) == 1


# --- rights


async def test_hidden_accounts_get_no_access(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("alice", "secret")
    token_ = token(["alice"])
    async with (
        SseClient(gateway.http, "secret", "alice", "nowhere", token=token_) as stream,
        WebSocketClient(gateway.ws, token=token_) as client,
    ):
        await client.subscribe("secret", "alice", "nowhere")
        await client.until_at("alice", 1)
        await stream.until_at("alice", 1)
        assert stream.of_type("error") == client.of_type("error")
        assert {error["code"] for error in stream.of_type("error")} == {"no_access"}
        await projector.transfer("secret", 5)
        await projector.transfer("alice", 5)
        await stream.until_at("alice", 3)
        assert "secret" not in stream.shown


async def test_stream_without_visible_accounts_ends(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "secret", token=token(["alice"])) as stream:
        assert await stream.until_end() == (4503, "nothing_left", None)
        assert frame_types(stream) == ["welcome", "ok", "error"]
    async with SseClient(gateway.http, "alice", "bob") as stream:
        await stream.until_at("bob", 1)
        await stream.until_at("alice", 1)
        await projector.erase("alice")
        await stream.until(lambda: stream.of_type("unsubscribed"))
        await projector.transfer("bob", 5)
        await stream.until_at("bob", 3)
        await projector.erase("bob")
        assert (await stream.until_end()).reason == "nothing_left"
        assert [frame["code"] for frame in stream.of_type("unsubscribed")] == ["gone", "gone"]


async def test_revocation_ends_subscriptions_and_streams(
    start_gateway: StartGateway,
    projector: FakeProjector,
    operator: Operator,  # noqa: F811
) -> None:
    gateway = await start_gateway(revocation_poll_seconds=3600.0)
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "alice", "bob", token=token(sub="me")) as stream:
        await stream.until_at("bob", 1)
        await operator.revoke(subject="me", account=AccountId("alice"))
        await stream.until(lambda: stream.of_type("unsubscribed"))
        unsubscribed = stream.of_type("unsubscribed")[0]
        assert (unsubscribed["channel"], unsubscribed["code"]) == ("account:alice", "revoked")
        await projector.write({"alice": [5, None], "bob": [5, None]})
        await stream.until_at("bob", 3)
        assert stream.revision("alice") == 1
        await operator.revoke(subject="me")
        assert await stream.until_end() == (4503, "revoked", None)
    async with SseClient(gateway.http, "bob", token=token(sub="me")) as again:
        assert (again.status, again.code) == (401, "revoked")


async def test_stream_ends_when_the_token_expires(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("alice")
    async with SseClient(gateway.http, "alice", token=token(seconds=6)) as stream:
        await stream.until_at("alice", 1)
        end = await stream.until_end()
        assert (end.code, end.reason) == (4001, "token_expired")
        assert stream.of_type("auth_expiring")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": ORIGIN}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_cookie_is_accepted_from_allowed_pages_only(
    start_gateway: StartGateway, projector: FakeProjector, headers: dict[str, str], status: int
) -> None:
    gateway = await start_gateway(allowed_origins=(ORIGIN,))
    cookie = f"theme=dark; livebalance={token()}"
    async with SseClient(gateway.http, "alice", token=None, headers={"Cookie": cookie, **headers}) as stream:
        assert stream.status == status
        if status == 200:
            await stream.until_at("alice", 0)
        else:
            assert stream.code == "origin"


# --- limits


@pytest.mark.parametrize(
    ("accounts", "event_id", "code"),
    [
        ([], None, "bad_parameter"),
        ([f"a{number}" for number in range(17)], None, "bad_parameter"),
        (["a%00b"], None, "bad_parameter"),
        (["a" * 65], None, "bad_parameter"),
        (["alice"], "payload", "bad_cursor"),
        (["alice"], "", "bad_parameter"),
        (["alice"], "pay load", "bad_parameter"),
    ],
)
async def test_bad_request_gets_422(
    gateway: RunningGateway, accounts: list[str], event_id: str | None, code: str
) -> None:
    async with SseClient(gateway.http, *accounts, last_event_id=event_id) as stream:
        assert (stream.status, stream.code) == (422, code)
        assert stream.headers["content-type"] == "application/problem+json"
        assert b"pay" not in stream.body
    await gateway.until_sessions(0)


async def test_invalid_token_gets_401(gateway: RunningGateway) -> None:
    async with SseClient(gateway.http, "alice", token="junk") as stream:
        assert (stream.status, stream.code) == (401, "unauthenticated")


async def test_websockets_and_streams_share_connection_limits(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_connections_per_address=2, max_connections_per_user=1)
    token_ = token(sub="me")
    async with WebSocketClient(gateway.ws, token=token_, additional_headers=NAMED) as client:
        await client.until(lambda: client.of_type("welcome"))
        async with SseClient(gateway.http, "alice", token=token_, headers=NAMED) as second:
            assert await second.until_end() == (4505, "too_many_connections", None)
        async with SseClient(gateway.http, "alice", headers=NAMED) as other:
            await other.until_at("alice", 0)
            await gateway.until_sessions(2)
            async with SseClient(gateway.http, "alice", headers=NAMED) as third:
                assert (third.status, third.code) == (429, "address_full")
                assert third.headers["retry-after"] == "10"
    await gateway.until_sessions(0)
    async with SseClient(gateway.http, "alice", token=token_, headers=NAMED) as again:
        await again.until_at("alice", 0)


async def test_event_source_over_the_limit_gets_a_retry_time(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_connections_per_address=1)
    async with (
        SseClient(gateway.http, "alice", headers=NAMED) as stream,
        httpx.AsyncClient(timeout=30) as http,
    ):
        await stream.until_at("alice", 0)
        headers = {**bearer(), **NAMED, "Accept": "text/event-stream"}
        response = await http.get(f"{gateway.http}/api/v1/events?account=alice", headers=headers)
    assert (response.status_code, response.headers["content-type"][:17]) == (200, "text/event-stream")
    retry, event, data = response.text.strip().split("\n")
    end = json.loads(data.removeprefix("data: "))
    assert (end["code"], end["reason"]["code"], event) == (4013, "busy", "event: close")
    assert retry == f"retry: {end['reason']['retry_after_ms']}"
    assert 10_000 <= end["reason"]["retry_after_ms"] <= 20_000


async def test_drain_lets_streams_return_at_once_and_a_new_stream_sets_the_usual_retry_time(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(drain_period_seconds=1.0)
    await projector.open("alice")
    async with SseClient(gateway.http, "alice") as first, SseClient(gateway.http, "alice") as second:
        await first.until_at("alice", 1)
        await second.until_at("alice", 1)
        assert 1000 <= (first.retry or 0) <= 3000
        stopping = asyncio.create_task(gateway.stop())
        ends = [await first.until_end(), await second.until_end()]
        await stopping
        for stream, end in zip((first, second), ends, strict=True):
            assert (end.code, end.reason) == (4000, "drain")
            assert stream.retry == end.retry_after_ms == RETRY_AFTER_DRAIN_MS
            assert json.dumps(frame_types(stream)).endswith('"goaway"]')
