"""Each close, rejection, error and repair moves the series of its reason, and no other series."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args

import httpx
import pytest
from prometheus_client import REGISTRY, Metric
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from livebalance.gateway.live.channel import GapReason
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.wire.close import CloseCode, encode_reason
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.frame import ErrorCode, SnapshotReason
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.problem import ProblemCode
from tests.integration.gateway import actions
from tests.integration.gateway.bad_input.raw import (
    ACCOUNTS_HEAD,
    BINARY,
    CLOSE,
    CONT,
    CRLF,
    HANDSHAKE_HEAD,
    PING,
    TEXT,
    frame,
    message,
    send_request,
)
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.harness import WITHIN, Action, Harness
from tests.integration.gateway.stalled_reader import LONG_INTERVAL
from tests.servers.database import Database
from tests.tokens import claims, sign, token

Series = tuple[str, ...]  # the name without its prefix, and the values of its labels

# The metrics with a reason. The other metrics count traffic.
FAMILIES = {
    f"livebalance_gateway_{name}": name
    for name in (
        "audit_findings",
        "closed_connections",
        "conflated_frames",
        "dropped_messages",
        "error_frames",
        "failed_reads",
        "client_queue_overflows",
        "http_problems",
        "gap_repairs",
        "snapshots",
        "rejected_requests",
        "ended_subscriptions",
    )
}


def current() -> Counter[Series]:
    """Returns the series of this process, in which the gateway runs."""
    return Counter(series_of(REGISTRY.collect()))


def series_of(families: Iterable[Metric]) -> dict[Series, int]:
    return {
        (FAMILIES[family.name], *sample.labels.values()): int(sample.value)
        for family in families
        for sample in family.samples
        if family.name in FAMILIES and sample.name.endswith("_total")
    }


# --- the events, and the series that each moves

ALLOWED_HOSTS = {"allowed_hosts": ("here", "127.0.0.1")}
FREQUENT_AUDITS: dict[str, Any] = {"audit_interval_seconds": 0.3, "recovery_max_revisions": 2}
SMALL_PAGES: dict[str, Any] = {"recovery_page_rows": 2}
# An audit during a commit finds a difference.
RARE_AUDITS: dict[str, Any] = {"audit_interval_seconds": 3600.0}
SMALL_BUFFERS: dict[str, Any] = {
    **RARE_AUDITS,
    "send_buffer_bytes": 8192,
    "ping_interval_seconds": LONG_INTERVAL,
}
SIGNED: dict[str, Any] = {"delta_key": SecretStr("the secret of this deployment, 1")}
UNLIMITED_MESSAGES: dict[str, Any] = {"message_rate": 1000}


class Event(NamedTuple):
    """An action, and the series that it moves: each once, unless it moves them `many` times."""

    action: Action
    moves: set[Series]
    settings: Mapping[str, Any] | None = None
    many: bool = False


def rejected(reason: str, action: Action, **settings: Any) -> Event:
    return Event(action, {("rejected_requests", reason)}, settings)


def closed(code: int | str, reason: str, action: Action, **settings: Any) -> Event:
    return Event(
        action, {("closed_connections", str(int(code) if code != "other" else code), reason)}, settings
    )


def problem(code: str, action: Action, **settings: Any) -> Event:
    return Event(action, {("http_problems", code)}, settings)


def expired_token() -> str:
    return sign(claims(exp=int(time.time()) - 100))


SUBSCRIBED = ("snapshots", "subscribed")
UNKNOWN_TYPE = frame(TEXT, b'{"type":"dance","id":1}')
NOT_JSON = frame(TEXT, b"x")
TWO_CHANNELS = [{"channel": "account:a"}, {"channel": "account:b"}]
LOST_CURSOR = encode_cursor(AccountId("alice"), TransferId("never-there"))

EVENTS: dict[str, Event] = {
    # before the upgrade, and before a request is served
    "unknown host": rejected(
        "host", actions.send_request(HANDSHAKE_HEAD.replace(b"here", b"there")), **ALLOWED_HOSTS
    ),
    "HTTP/1.0": rejected(
        "http_version", actions.send_request(HANDSHAKE_HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"))
    ),
    "TLS on a plain port": rejected("bad_request", actions.send_request(b"\x16\x03\x01\x02")),
    "unknown method": rejected("method", actions.send_request(ACCOUNTS_HEAD.replace(b"GET", b"DANCE"))),
    "head too large": rejected(
        "head_too_large", actions.send_request(ACCOUNTS_HEAD + b"X: " + b"a" * 9000 + CRLF)
    ),
    "target too long": rejected(
        "target_too_long", actions.send_request(ACCOUNTS_HEAD.replace(b"counts", b"a" * 9000))
    ),
    "request with a body": rejected(
        "body", actions.send_request(ACCOUNTS_HEAD + b"Content-Length: 1" + CRLF)
    ),
    "request without TLS": rejected("not_secure", actions.send_request(ACCOUNTS_HEAD), require_tls=True),
    "many ranges": rejected(
        "ranges", actions.send_request(ACCOUNTS_HEAD + b"Range: bytes=" + b"0-," * 9 + b"0-" + CRLF)
    ),
    "no request": rejected("silent", actions.send_nothing, request_head_timeout_seconds=0.2),
    # Long enough for the client to send a part: without any, the reason would be another.
    "incomplete head": rejected("slow_head", actions.send_incomplete_head, request_head_timeout_seconds=2.0),
    "invalid handshake": rejected("handshake", actions.send_request(HANDSHAKE_HEAD.replace(b"AAAA==", b""))),
    "unknown WebSocket path": rejected(
        "not_found", actions.send_request(HANDSHAKE_HEAD.replace(b"/ws", b"/x"))
    ),
    "handshake with POST": rejected("method", actions.send_request(HANDSHAKE_HEAD.replace(b"GET", b"POST"))),
    "token in the handshake URL": rejected(
        "token_in_url", actions.send_request(HANDSHAKE_HEAD.replace(b"/ws", b"/ws?token=x"))
    ),
    "unknown origin": rejected(
        "origin", actions.send_request(HANDSHAKE_HEAD + b"Origin: http://there" + CRLF)
    ),
    "unknown WebSocket version": rejected(
        "websocket_version", actions.send_request(HANDSHAKE_HEAD.replace(b": 13", b": 8"))
    ),
    "unknown subprotocol": rejected(
        "subprotocol", actions.send_request(HANDSHAKE_HEAD.replace(b"livebalance.v1", b"x"))
    ),
    "too many connections": rejected("full", actions.connect_beyond_limit, max_connections=1),
    "too many connections, stream": rejected("full", actions.open_stream_beyond_limit, max_connections=1),
    "too many new connections": rejected("too_fast", actions.connect_beyond_limit, connection_rate=0.5),
    "too many connections of an address": rejected(
        "address_full", actions.connect_beyond_limit, max_connections_per_address=1
    ),
    "too many new connections of an address": rejected(
        "address_too_fast", actions.connect_beyond_limit, connection_rate_per_address=0.5
    ),
    "too many requests of a user": rejected(
        "user_full", actions.request_during_another, max_requests_per_user=1
    ),
    "too many requests of a user per second": rejected(
        "user_too_fast", actions.request_twice, request_rate_per_user=0.5
    ),
    "gateway not ready": rejected("not_ready", actions.connect_when_not_ready),
    "drain": Event(
        actions.drain,
        {("rejected_requests", "draining"), ("closed_connections", "4000", "drain")},
        {"drain_period_seconds": 3.0},
    ),
    # the end of a WebSocket
    "client close": closed(
        1000, "client", actions.send_until_closed(frame(CLOSE, (1000).to_bytes(2, "big")))
    ),
    "client close with unusual code": closed(
        "other", "client", actions.send_until_closed(frame(CLOSE, (4321).to_bytes(2, "big")))
    ),
    "connection lost": closed(1006, "lost", actions.abort_connection),
    "no pong": closed(
        1006, "silent", actions.ignore_pings, ping_interval_seconds=0.2, heartbeat_interval_seconds=60.0
    ),
    "stop": closed(CloseCode.GOING_AWAY, "stopping", actions.stop_without_drain),
    "WebSocket protocol error": closed(
        CloseCode.PROTOCOL_ERROR, "protocol_error", actions.send_until_closed(frame(7, b"x"))
    ),
    "binary message": closed(CloseCode.UNSUPPORTED, "binary", actions.send_until_closed(frame(BINARY, b"x"))),
    "invalid UTF-8": closed(CloseCode.BAD_TEXT, "bad_text", actions.send_until_closed(frame(TEXT, b"\xff"))),
    "too many pings": closed(CloseCode.POLICY, "controls", actions.send_until_closed(frame(PING) * 100)),
    "too many fragments": closed(
        CloseCode.POLICY,
        "fragments",
        actions.send_until_closed(frame(TEXT, fin=False), frame(CONT, fin=False) * 100),
    ),
    "incomplete message": closed(
        CloseCode.POLICY,
        "assembly",
        actions.send_until_closed(frame(TEXT, b"x", fin=False)),
        message_timeout_seconds=0.2,
    ),
    "message too big": closed(
        CloseCode.TOO_BIG, "too_big", actions.send_until_closed(frame(TEXT, b"x" * 20_000))
    ),
    "bug in a message": closed(CloseCode.INTERNAL, "internal", actions.fail_in_message),
    "expired token": closed(
        CloseCode.TOKEN_EXPIRED, "token_expired", actions.authenticate_with(expired_token)
    ),
    "token that expires": closed(CloseCode.TOKEN_EXPIRED, "token_expired", actions.let_token_expire),
    "unpublished key": closed(CloseCode.BUSY, "keys_missing", actions.use_unpublished_key),
    "no authentication": closed(
        CloseCode.NOT_AUTHENTICATED,
        "unauthenticated",
        actions.authenticate_with(lambda: None),
        auth_timeout_seconds=0.3,
    ),
    "forged token": closed(
        CloseCode.NOT_AUTHENTICATED, "unauthenticated", actions.authenticate_with(lambda: "x")
    ),
    "revoked subject": closed(CloseCode.REVOKED, "revoked", actions.revoke_subject),
    "no recent revocations": closed(
        CloseCode.BUSY,
        "rights_unknown",
        actions.outlast_revocations,
        revocation_outage_seconds=2.0,
        revocation_poll_seconds=0.1,
    ),
    "too many connections of a user": closed(
        CloseCode.TOO_MANY_CONNECTIONS,
        "too_many_connections",
        actions.connect_beyond_user_limit,
        max_connections_per_user=1,
    ),
    "too many invalid messages": Event(
        actions.send_until_closed(NOT_JSON * 3),
        {("closed_connections", "4500", "bad_message"), ("error_frames", "bad_message")},
        many=True,
    ),
    "too many errors": Event(
        actions.send_until_closed(UNKNOWN_TYPE * 60),
        {("closed_connections", "4013", "rate_limited"), ("error_frames", "unknown_type")},
        UNLIMITED_MESSAGES,
        many=True,
    ),
    "repeated abuse": Event(
        actions.exceed_rates_repeatedly,
        {
            ("closed_connections", "4013", "rate_limited"),
            ("closed_connections", "4509", "abuse"),
            ("error_frames", "unknown_type"),
        },
        UNLIMITED_MESSAGES,
        many=True,
    ),
    "client that does not read": Event(
        actions.stop_reading,
        {
            SUBSCRIBED,
            ("closed_connections", "1006", "no_progress"),
            ("conflated_frames", "slow"),
            ("client_queue_overflows",),
        },
        SMALL_BUFFERS,
        many=True,
    ),
    # errors
    "invalid message": Event(actions.send_until_error(NOT_JSON), {("error_frames", "bad_message")}),
    "unknown message type": Event(actions.send_until_error(UNKNOWN_TYPE), {("error_frames", "unknown_type")}),
    "invalid account": Event(
        actions.send_until_error(message("unsubscribe", channels=["b"])), {("error_frames", "bad_account")}
    ),
    "too many subscriptions": Event(
        actions.send_until_error(message("subscribe", channels=TWO_CHANNELS)),
        {("error_frames", "limit")},
        {"max_subscriptions": 1},
    ),
    "too many messages": Event(
        actions.send_until_error(message("ping") * 5),
        {("error_frames", "rate_limited")},
        {"message_rate": 1},
        many=True,
    ),
    "subscribe without access": Event(actions.subscribe_without_access, {("error_frames", "no_access")}),
    "subscribe while Postgres hangs": Event(
        actions.subscribe_while_postgres_hangs,
        {("error_frames", "unavailable"), ("failed_reads", "unavailable")},
        {"postgres_timeout_seconds": 2.0},
    ),
    # HTTP
    "request without token": problem("unauthenticated", actions.get("/accounts", headers={})),
    "request with expired token": problem(
        "token_expired", lambda harness: harness.get("/accounts", expired_token())
    ),
    "request with revoked token": problem("revoked", actions.request_with_revoked_token),
    "request without access": problem("no_access", lambda harness: harness.get("/accounts/a", token(["b"]))),
    "token in the query": problem("token_in_url", actions.get("/accounts?token=x")),
    "bad parameter": problem("bad_parameter", actions.get("/accounts?limit=x")),
    "bad cursor": problem("bad_cursor", actions.get("/accounts/alice/transfers?cursor=x")),
    "lost cursor": problem("cursor_gone", actions.get(f"/accounts/alice/transfers?cursor={LOST_CURSOR}")),
    "unknown transfer": problem("not_found", actions.get("/accounts/alice/transfers/none")),
    "unsupported method": problem("method", actions.send_request(ACCOUNTS_HEAD.replace(b"GET", b"DELETE"))),
    "revision not yet reached": problem("not_yet", actions.wait_for_revision),
    "second statement": problem("one_at_a_time", actions.request_two_statements),
    "request while Postgres hangs": problem("unavailable", actions.request_while_postgres_hangs),
    "bug in a request": problem("internal", actions.fail_in_request),
    # a stream of events
    "stream lost": Event(actions.abort_stream, {SUBSCRIBED, ("closed_connections", "1006", "lost")}),
    "stream without access": Event(
        actions.open_stream_without_access,
        {("error_frames", "no_access"), ("closed_connections", "4503", "nothing_left")},
    ),
    # subscriptions
    "unsubscribe": Event(actions.unsubscribe, {SUBSCRIBED, ("ended_subscriptions", "client")}),
    "erased account": Event(
        actions.erase_account,
        {SUBSCRIBED, ("gap_repairs", "header_only"), ("ended_subscriptions", "gone")},
        RARE_AUDITS,
    ),
    "revoked account": Event(actions.revoke_account, {SUBSCRIBED, ("ended_subscriptions", "revoked")}),
    "resume from too far": Event(actions.resume_from(1), {("snapshots", "too_far")}, FREQUENT_AUDITS),
    "resume from ahead": Event(actions.resume_from(99), {("snapshots", "ahead")}, FREQUENT_AUDITS),
    "resume from another epoch": Event(
        actions.resume_from(1, "f" * 16), {("snapshots", "epoch")}, FREQUENT_AUDITS
    ),
    # gaps
    "lost delta": Event(actions.lose_delta, {SUBSCRIBED, ("gap_repairs", "gap")}, RARE_AUDITS),
    "delta with header only": Event(
        actions.publish_header_only, {SUBSCRIBED, ("gap_repairs", "header_only")}, RARE_AUDITS
    ),
    "lost last delta": Event(
        actions.lose_last_delta,
        {SUBSCRIBED, ("gap_repairs", "audit"), ("audit_findings", "ahead")},
        FREQUENT_AUDITS,
        many=True,
    ),
    "change of epoch": Event(
        actions.change_epoch,
        {SUBSCRIBED, ("gap_repairs", "epoch"), ("audit_findings", "epoch"), ("snapshots", "epoch")},
        FREQUENT_AUDITS,
        many=True,
    ),
    "lost commit": Event(
        actions.lose_commit,
        {SUBSCRIBED, ("gap_repairs", "back"), ("audit_findings", "back"), ("snapshots", "ahead")},
        FREQUENT_AUDITS,
        many=True,
    ),
    "many lost deltas": Event(
        actions.lose_many_deltas,
        {SUBSCRIBED, ("gap_repairs", "gap"), ("gap_repairs", "pages")},
        {**RARE_AUDITS, **SMALL_PAGES},
        many=True,
    ),
    "pending deltas overflow": Event(
        actions.overflow_pending_deltas,
        {SUBSCRIBED, ("gap_repairs", "gap"), ("gap_repairs", "overflow")},
        RARE_AUDITS,
    ),
    "forged content": Event(
        actions.publish_forged_content,
        {
            SUBSCRIBED,
            ("gap_repairs", "content"),
            ("audit_findings", "content"),
            ("snapshots", "content"),
        },
        FREQUENT_AUDITS,
    ),
    "unsigned delta": Event(
        actions.publish_invalid_delta, {SUBSCRIBED, ("dropped_messages", "unsigned")}, SIGNED
    ),
    "forged signature": Event(
        actions.publish_progress_with_another_key, {("dropped_messages", "forged")}, SIGNED
    ),
    "invalid delta": Event(actions.publish_invalid_delta, {SUBSCRIBED, ("dropped_messages", "delta")}),
    "invalid progress": Event(actions.publish_invalid_progress, {("dropped_messages", "progress")}),
    # conflation
    "rate limited by the client": Event(
        actions.limit_rate, {SUBSCRIBED, ("conflated_frames", "rate")}, RARE_AUDITS, many=True
    ),
}


@pytest.mark.parametrize("name", EVENTS)
async def test_event_moves_its_series_and_no_other(  # noqa: PLR0917 - fixtures
    start_gateway: StartGateway,
    projector: FakeProjector,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    connections: list[WebSocketConnection],
    name: str,
) -> None:
    action, moves, settings, many = EVENTS[name]
    gateway = await start_gateway(**(settings or {}))
    harness = Harness(gateway, projector, database, monkeypatch, connections)
    before = current()
    async with harness.opened:
        await action(harness)
        async with asyncio.timeout(WITHIN):
            while not moves <= set(current() - before):  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.02)
        grown = current() - before
    assert set(grown) == moves
    assert many or set(grown.values()) == {1}


async def test_metrics_endpoint_shows_every_family_with_a_reason(gateway: RunningGateway) -> None:
    await send_request(gateway.http, b"GET /nothing HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    async with httpx.AsyncClient(timeout=30) as client:
        text = (await client.get(f"{gateway.operations}/metrics")).text
    for name in FAMILIES:
        assert f"# HELP {name}_total" in text
    assert 'livebalance_gateway_http_problems_total{reason="not_found"}' in text


def shown_from_start() -> set[Series]:
    """Returns the series of a process that has only imported its metrics."""
    code = (
        "from prometheus_client import generate_latest; import livebalance.gateway.telemetry.metrics as _; "
    )
    text = subprocess.run(
        [sys.executable, "-c", code + "print(generate_latest().decode())"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    return set(series_of(text_string_to_metric_families(text)))


LATER = {
    "4506",  # no protocol version has been retired yet
}
UNTESTED = {
    ("http_problems", "bad_request"),  # from a library, with a status without a code of its own
    ("error_frames", "not_yet"),  # only in REST
    ("error_frames", "token_in_url"),
    ("error_frames", "gone"),
}


def test_every_reason_has_an_event() -> None:
    moved = {series for event in EVENTS.values() for series in event.moves}

    def reasons(*families: str) -> set[str]:
        return {series[-1] for series in moved if series[0] in families}

    def untested(family: str) -> set[str]:
        return {series[-1] for series in UNTESTED if series[0] == family}

    codes = {series[1] for series in moved if series[0] == "closed_connections"}
    assert codes >= {str(int(code)) for code in CloseCode} - LATER
    assert reasons("gap_repairs") == set(get_args(GapReason))
    assert reasons("snapshots") == {*get_args(SnapshotReason), "content"}
    problems = set(get_args(ProblemCode)) - untested("http_problems")
    assert reasons("http_problems", "rejected_requests") >= problems
    assert reasons("error_frames") >= set(get_args(ErrorCode)) - untested("error_frames")


def test_every_series_that_moves_is_shown_from_the_start() -> None:
    """At 0, so that a rate sees the first event. Closes are left out: they have too many combinations."""
    moved = {
        series for event in EVENTS.values() for series in event.moves if series[0] != "closed_connections"
    }
    assert moved <= shown_from_start()


def test_every_close_reason_has_a_message() -> None:
    """The page shows it. Code 1006 sends no close frame, and a client knows the reason of its own close."""
    for event in EVENTS.values():
        for family, *labels in event.moves:
            if family == "closed_connections" and labels[0] != "1006" and labels[1] != "client":
                assert json.loads(encode_reason(labels[1]))["message"], labels
