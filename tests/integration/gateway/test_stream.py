"""Server-sent events: what the socket says, with the same rights and bounds, resumed by an event's id."""

import asyncio
import json
from typing import Any

import httpx
import pytest

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


def told(listener: SseClient) -> list[str]:
    return [one["type"] for one in listener.frames if one["type"] not in ("status", "heartbeat")]


# --- following


async def test_snapshots_and_deltas_of_two_accounts(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice", "bob")
    await projector.transfer("alice", *range(1, 60))
    async with SseClient(gateway.http, "alice", "bob") as one, WebSocketClient(gateway.ws) as client:
        assert one.headers["content-type"].startswith("text/event-stream")
        assert (one.headers["cache-control"], one.headers["x-accel-buffering"]) == ("no-store", "no")
        await client.subscribe("alice", "bob")
        await client.until_at("alice", 119)
        await client.until_at("bob", 1)
        await one.until_at("alice", 119)
        await one.until_at("bob", 1)
        assert sorted(told(one)) == ["ok", "snapshot", "snapshot", "welcome"]
        await projector.transfer("alice", 7)
        await projector.transfer("bob", 8, 9)
        await client.until_at("alice", 121)
        await client.until_at("bob", 5)
        assert_shows(await one.until_at("bob", 5), projector.account("bob"))
        await one.until_at("alice", 121)

        def of(type_: str, frames: list[Any]) -> list[Any]:
            return sorted((f for f in frames if f["type"] == type_), key=lambda f: f["channel"])

        for type_ in ("snapshot", "delta"):
            assert of(type_, one.frames) == of(type_, client.frames)


async def test_heartbeats_flow(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(heartbeat_interval_seconds=0.1, audit_interval_seconds=0.2)
    await projector.open("alice")
    async with SseClient(gateway.http, "alice") as one:
        await one.until(lambda: any(beat["as_of"] for beat in one.of_type("heartbeat")))


# --- resuming


async def test_a_cut_is_resumed_without_gap_or_repeat(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    first, second = await start_gateway(), await start_gateway()
    await projector.open("alice", "bob", "carol")
    async with SseClient(first.http, "alice", "bob") as one:
        await one.until_at("bob", 1)
        await projector.transfer("alice", 1, 2)
        await one.until_at("alice", 5)
    await projector.transfer("alice", 3)
    await projector.transfer("carol", 3)
    async with SseClient(
        second.http, "alice", "bob", "carol", last_event_id=one.last_event_id, shown=one.shown
    ) as again:
        assert_shows(await again.until_at("alice", 7), projector.account("alice"))
        await again.until_at("carol", 3)
        await projector.transfer("bob", 4)
        assert_shows(await again.until_at("bob", 3), projector.account("bob"))
        data = [(f["type"], f["channel"]) for f in again.frames if "channel" in f]
        assert sorted(data[:2]) == [("delta", "account:alice"), ("snapshot", "account:carol")]
        assert data[2:] == [("delta", "account:bob")]
    async with SseClient(
        first.http, "bob", "alice", last_event_id=again.last_event_id, shown=again.shown
    ) as last:
        await last.until(lambda: last.of_type("ok"))
        await projector.transfer("alice", 4)
        await last.until_at("alice", 9)
        assert told(last) == ["welcome", "ok", "delta"]


async def test_each_event_can_be_the_last(gateway: RunningGateway, projector: FakeProjector) -> None:
    """Wherever it is cut, what was heard until then is where it goes on."""
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "alice", "bob") as one:
        await one.until_at("alice", 1)
        await one.until_at("bob", 1)
        for number in range(3):
            await projector.write({"alice": [number, None], "bob": [number, None]})
        await one.until_at("alice", 7)
        await one.until_at("bob", 7)
    assert len({mark for mark, _ in one.points}) == 8
    for mark, shown in one.points:
        async with SseClient(gateway.http, "alice", "bob", last_event_id=mark, shown=shown) as again:
            assert_shows(await again.until_at("alice", 7), projector.account("alice"))
            assert_shows(await again.until_at("bob", 7), projector.account("bob"))
            assert len(again.of_type("snapshot")) == 2 - len(shown)


@pytest.mark.parametrize(
    ("epoch", "revision", "reason"), [("00000000000000a1", 99, "ahead"), ("00000000000000ff", 1, "epoch")]
)
async def test_a_position_that_is_none_here_begins_anew(
    gateway: RunningGateway, projector: FakeProjector, epoch: str, revision: int, reason: str
) -> None:
    await projector.open("alice")
    mark = encode_event_id({AccountId("alice"): Position(Epoch(epoch), Revision(revision))})
    async with SseClient(gateway.http, "alice", last_event_id=mark) as one:
        await one.until_at("alice", 1)
        assert one.of_type("snapshot")[0]["reason"] == reason


async def test_a_slow_reader_loses_nothing(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(send_buffer_bytes=4096, client_queue_bytes=8192, recovery_page_rows=20)
    await projector.open("alice", "bob")
    async with (
        SseClient(gateway.http, "alice", "bob", narrow=True) as slow,
        SseClient(gateway.http, "alice", "bob") as quick,
    ):
        await slow.until_at("alice", 1)
        slow.reading.clear()
        forgotten = await gateway.counter("client_queue_overflows")
        for number in range(120):
            await projector.transfer("alice", *range(number, number + 20))
            await projector.transfer("bob", number)
        await quick.until_at("bob", 241)
        assert await gateway.counter("client_queue_overflows") > forgotten
        slow.reading.set()
        assert_shows(await slow.until_at("alice", 4801, 30), projector.account("alice"))
        assert_shows(await slow.until_at("bob", 241), projector.account("bob"))
        assert len(slow.of_type("snapshot")) == 2


async def test_a_reader_that_takes_nothing_is_aborted(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(
        send_buffer_bytes=4096, write_timeout_seconds=0.5, ping_interval_seconds=0.2
    )
    await projector.open("alice")
    async with SseClient(gateway.http, "alice", narrow=True) as stuck:
        await stuck.until_at("alice", 1)
        stuck.reading.clear()
        before = await gateway.counter("closed_connections", code="1006", reason="no_progress")
        async with asyncio.timeout(15):
            while await gateway.counter("closed_connections", code="1006", reason="no_progress") == before:
                await projector.transfer("alice", *range(50))
        await gateway.until_sessions(0)


async def test_what_cannot_be_read_now_is_asked_for_again(
    gateway: RunningGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream cannot subscribe again: it comes back, with what it has of the others."""
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "alice") as before:
        await before.until_at("alice", 1)
    with monkeypatch.context() as away:

        async def fails(*_: object) -> None:
            raise UnavailableError

        away.setattr(gateway_reads, "read_accounts", fails)
        async with SseClient(gateway.http, "alice", "bob", last_event_id=before.last_event_id) as one:
            end = await one.until_end()
            assert (end.code, end.reason) == (4013, "busy")
            assert one.retry == end.retry_after_ms
            assert {error["code"] for error in one.of_type("error")} == {"unavailable"}
    async with SseClient(
        gateway.http, "alice", "bob", last_event_id=before.last_event_id, shown=before.shown
    ) as again:
        await again.until_at("bob", 1)
        assert len(again.of_type("snapshot")) == 1


# --- rights


async def test_what_one_may_not_see(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("alice", "secret")
    mine = token(["alice"])
    async with (
        SseClient(gateway.http, "secret", "alice", "nowhere", token=mine) as one,
        WebSocketClient(gateway.ws, token=mine) as client,
    ):
        await client.subscribe("secret", "alice", "nowhere")
        await client.until_at("alice", 1)
        await one.until_at("alice", 1)
        assert one.of_type("error") == client.of_type("error")
        assert {error["code"] for error in one.of_type("error")} == {"no_access"}
        await projector.transfer("secret", 5)
        await projector.transfer("alice", 5)
        await one.until_at("alice", 3)
        assert "secret" not in one.shown


async def test_with_nothing_left_it_ends(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "secret", token=token(["alice"])) as one:
        assert await one.until_end() == (4503, "nothing_left", None)
        assert told(one) == ["welcome", "ok", "error"]
    async with SseClient(gateway.http, "alice", "bob") as one:
        await one.until_at("bob", 1)
        await one.until_at("alice", 1)
        await projector.erase("alice")
        await one.until(lambda: one.of_type("unsubscribed"))
        await projector.transfer("bob", 5)
        await one.until_at("bob", 3)
        await projector.erase("bob")
        assert (await one.until_end()).reason == "nothing_left"
        assert [gone["code"] for gone in one.of_type("unsubscribed")] == ["gone", "gone"]


async def test_what_is_revoked_ends_within_seconds(
    start_gateway: StartGateway,
    projector: FakeProjector,
    operator: Operator,  # noqa: F811
) -> None:
    gateway = await start_gateway(revocation_poll_seconds=60.0)
    await projector.open("alice", "bob")
    async with SseClient(gateway.http, "alice", "bob", token=token(sub="me")) as one:
        await one.until_at("bob", 1)
        await operator.take_back(subject="me", account=AccountId("alice"))
        await one.until(lambda: one.of_type("unsubscribed"), 5)
        gone = one.of_type("unsubscribed")[0]
        assert (gone["channel"], gone["code"]) == ("account:alice", "revoked")
        await projector.write({"alice": [5, None], "bob": [5, None]})
        await one.until_at("bob", 3)
        assert one.revision("alice") == 1
        await operator.take_back(subject="me")
        assert await one.until_end(5) == (4503, "revoked", None)
    async with SseClient(gateway.http, "bob", token=token(sub="me")) as again:
        assert (again.status, again.code) == (401, "revoked")


async def test_a_token_that_ends(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("alice")
    async with SseClient(gateway.http, "alice", token=token(seconds=3)) as one:
        await one.until_at("alice", 1)
        end = await one.until_end()
        assert (end.code, end.reason) == (4001, "token_expired")
        assert one.of_type("auth_expiring")


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
async def test_a_cookie_speaks_for_a_page_of_ours(
    start_gateway: StartGateway, projector: FakeProjector, headers: dict[str, str], status: int
) -> None:
    gateway = await start_gateway(allowed_origins=(ORIGIN,))
    cookie = f"theme=dark; livebalance={token()}"
    async with SseClient(gateway.http, "alice", token=None, headers={"Cookie": cookie, **headers}) as one:
        assert one.status == status
        if status == 200:
            await one.until_at("alice", 0)
        else:
            assert one.code == "origin"


# --- bounds


@pytest.mark.parametrize(
    ("accounts", "mark", "code"),
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
async def test_bad_requests(
    gateway: RunningGateway, accounts: list[str], mark: str | None, code: str
) -> None:
    async with SseClient(gateway.http, *accounts, last_event_id=mark) as one:
        assert (one.status, one.code) == (422, code)
        assert one.headers["content-type"] == "application/problem+json"
        assert b"pay" not in one.body
    await gateway.until_sessions(0)


async def test_who_shows_no_token_reads_nothing(gateway: RunningGateway) -> None:
    async with SseClient(gateway.http, "alice", token="junk") as one:
        assert (one.status, one.code) == (401, "unauthenticated")


async def test_sockets_and_streams_are_counted_together(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_connections_per_address=2, max_connections_per_user=1)
    mine = token(sub="me")
    async with WebSocketClient(gateway.ws, token=mine) as client:
        await client.until(lambda: client.of_type("welcome"))
        async with SseClient(gateway.http, "alice", token=mine) as second:
            assert await second.until_end() == (4505, "too_many_connections", None)
        async with SseClient(gateway.http, "alice") as other:
            await other.until_at("alice", 0)
            await gateway.until_sessions(2)
            async with SseClient(gateway.http, "alice") as third:
                assert (third.status, third.code) == (429, "address_full")
                assert third.headers["retry-after"] == "10"
    await gateway.until_sessions(0)
    async with SseClient(gateway.http, "alice", token=mine) as again:
        await again.until_at("alice", 0)


async def test_a_browser_that_is_too_many_comes_back(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_connections_per_address=1)
    async with SseClient(gateway.http, "alice") as one, httpx.AsyncClient() as http:
        await one.until_at("alice", 0)
        given = {**bearer(), "Accept": "text/event-stream"}
        answer = await http.get(f"{gateway.http}/api/v1/events?account=alice", headers=given)
    assert (answer.status_code, answer.headers["content-type"][:17]) == (200, "text/event-stream")
    retry, event, data = answer.text.strip().split("\n")
    end = json.loads(data.removeprefix("data: "))
    assert (end["code"], end["reason"]["code"], event) == (4013, "busy", "event: close")
    assert retry == f"retry: {end['reason']['retry_after_ms']}"
    assert 10_000 <= end["reason"]["retry_after_ms"] <= 20_000


async def test_a_drain_tells_when_to_come_back(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(drain_period_seconds=1.0)
    await projector.open("alice")
    async with SseClient(gateway.http, "alice") as one, SseClient(gateway.http, "alice") as two:
        await one.until_at("alice", 1)
        await two.until_at("alice", 1)
        stopping = asyncio.create_task(gateway.stop())
        ends = [await one.until_end(), await two.until_end()]
        await stopping
        for listener, end in zip((one, two), ends, strict=True):
            assert (end.code, end.reason) == (4000, "drain")
            assert listener.retry == end.retry_after_ms
            assert json.dumps(told(listener)).endswith('"goaway"]')
        assert ends[0].retry_after_ms != ends[1].retry_after_ms
