"""Whatever is closed, refused, repaired or left out moves the series that says why, and no other."""

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

from livebalance.gateway.live.channel import Why
from livebalance.wire.close import CloseCode, encode_reason
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.frame import ErrorCode, SnapshotReason
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.problem import ProblemCode
from tests.integration.gateway import acts
from tests.integration.gateway.bad_input.raw import (
    BINARY,
    BROWSE,
    CLOSE,
    CONT,
    END,
    PING,
    TEXT,
    UPGRADE,
    frame,
    message,
    talk,
)
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.stage import WITHIN, Act, Stage
from tests.servers.database import Database
from tests.tokens import claims, signed, token

Series = tuple[str, ...]  # its name without what all have, and its labels

# These say why. The others count traffic.
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


def shown() -> Counter[Series]:
    """The gateway is in this process."""
    return Counter(series_of(REGISTRY.collect()))


def series_of(families: Iterable[Metric]) -> dict[Series, int]:
    return {
        (FAMILIES[family.name], *one.labels.values()): int(one.value)
        for family in families
        for one in family.samples
        if family.name in FAMILIES and one.name.endswith("_total")
    }


# --- what each moves

HOSTS = {"allowed_hosts": ("here", "127.0.0.1")}
QUICK: dict[str, Any] = {
    "request_head_timeout_seconds": 0.2,
    "message_timeout_seconds": 0.2,
    "auth_timeout_seconds": 0.3,
}
NARROW: dict[str, Any] = {
    "send_buffer_bytes": 8192,
    "ping_interval_seconds": 1.0,
    "write_timeout_seconds": 2.0,
}  # below a second, what a system repeats tells nothing
AUDITED: dict[str, Any] = {"audit_interval_seconds": 0.3, "recovery_max_revisions": 2}
PAGED: dict[str, Any] = {"recovery_page_rows": 2}
RARE: dict[str, Any] = {"audit_interval_seconds": 60.0}
HASTY: dict[str, Any] = {"message_rate": 1000}


class Event(NamedTuple):
    """`moves` are the series that grow, and no other; each by one, unless there are `many`."""

    act: Act
    moves: set[Series]
    settings: Mapping[str, Any] | None = None
    many: bool = False


def turned(reason: str, act: Act, **settings: Any) -> Event:
    return Event(act, {("rejected_requests", reason)}, settings)


def closed(code: int | str, reason: str, act: Act, **settings: Any) -> Event:
    return Event(act, {("closed_connections", str(int(code) if code != "other" else code), reason)}, settings)


def problem(code: str, act: Act, **settings: Any) -> Event:
    return Event(act, {("http_problems", code)}, settings)


def late() -> str:
    return signed(claims(exp=int(time.time()) - 100))


SUBSCRIBED = ("snapshots", "subscribed")
DANCE = frame(TEXT, b'{"type":"dance","id":1}')
BAD = frame(TEXT, b"x")
TWO = [{"channel": "account:a"}, {"channel": "account:b"}]
NONE_THERE = encode_cursor(AccountId("alice"), TransferId("never-there"))

EVENTS: dict[str, Event] = {
    # before the upgrade, and before a request is served
    "another host": turned("host", acts.asks(UPGRADE.replace(b"here", b"there")), **HOSTS),
    "HTTP/1.0": turned("http_version", acts.asks(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))),
    "TLS": turned("bad_request", acts.asks(b"\x16\x03\x01\x02")),
    "a method that is none": turned("method", acts.asks(BROWSE.replace(b"GET", b"DANCE"))),
    "a head too large": turned("head_too_large", acts.asks(BROWSE + b"X: " + b"a" * 9000 + END)),
    "a target too long": turned("target_too_long", acts.asks(BROWSE.replace(b"counts", b"a" * 9000))),
    "clear text": turned("not_secure", acts.asks(BROWSE), require_tls=True),
    "many ranges": turned("ranges", acts.asks(BROWSE + b"Range: bytes=" + b"0-," * 9 + b"0-" + END)),
    "silence": turned("silent", acts.silence, **QUICK),
    "half a head": turned("slow_head", acts.half_a_head, **QUICK),
    "no handshake": turned("handshake", acts.asks(UPGRADE.replace(b"AAAA==", b""))),
    "no such socket": turned("not_found", acts.asks(UPGRADE.replace(b"/ws", b"/x"))),
    "not GET": turned("method", acts.asks(UPGRADE.replace(b"GET", b"POST"))),
    "a token in the address": turned("token_in_url", acts.asks(UPGRADE.replace(b"/ws", b"/ws?token=x"))),
    "another origin": turned("origin", acts.asks(UPGRADE + b"Origin: http://there" + END)),
    "another version": turned("websocket_version", acts.asks(UPGRADE.replace(b": 13", b": 8"))),
    "another subprotocol": turned("subprotocol", acts.asks(UPGRADE.replace(b"livebalance.v1", b"x"))),
    "a full house": turned("full", acts.one_more, max_connections=1),
    "a stream too many": turned("full", acts.a_stream_too_many, max_connections=1),
    "too fast": turned("too_fast", acts.one_more, connection_rate=0.5),
    "a full address": turned("address_full", acts.one_more, max_connections_per_address=1),
    "an address too fast": turned("address_too_fast", acts.one_more, connection_rate_per_address=0.5),
    "not ready": turned("not_ready", acts.not_ready),
    "a drain": Event(
        acts.drained,
        {("rejected_requests", "draining"), ("closed_connections", "4000", "drain")},
        {"drain_period_seconds": 0.5},
    ),
    # the end of a socket
    "a polite end": closed(1000, "client", acts.sends(frame(CLOSE, (1000).to_bytes(2, "big")))),
    "an odd end": closed("other", "client", acts.sends(frame(CLOSE, (4321).to_bytes(2, "big")))),
    "gone": closed(1006, "lost", acts.away),
    "no pong": closed(
        1006, "silent", acts.no_pong, ping_interval_seconds=0.2, heartbeat_interval_seconds=60.0
    ),
    "stopping": closed(CloseCode.GOING_AWAY, "stopping", acts.stopped),
    "no WebSocket": closed(CloseCode.PROTOCOL_ERROR, "protocol_error", acts.sends(frame(7, b"x"))),
    "binary": closed(CloseCode.UNSUPPORTED, "binary", acts.sends(frame(BINARY, b"x"))),
    "no UTF-8": closed(CloseCode.BAD_TEXT, "bad_text", acts.sends(frame(TEXT, b"\xff"))),
    "pings": closed(CloseCode.POLICY, "controls", acts.sends(frame(PING) * 100)),
    "fragments": closed(
        CloseCode.POLICY, "fragments", acts.sends(frame(TEXT, fin=False), frame(CONT, fin=False) * 100)
    ),
    "no end": closed(CloseCode.POLICY, "assembly", acts.sends(frame(TEXT, b"x", fin=False)), **QUICK),
    "too big": closed(CloseCode.TOO_BIG, "too_big", acts.sends(frame(TEXT, b"x" * 20_000))),
    "a bug": closed(CloseCode.INTERNAL, "internal", acts.a_bug),
    "expired": closed(CloseCode.TOKEN_EXPIRED, "token_expired", acts.shows(late)),
    "expired meanwhile": closed(CloseCode.TOKEN_EXPIRED, "token_expired", acts.expired),
    "no key yet": closed(CloseCode.BUSY, "keys_missing", acts.a_new_key),
    "a stranger": closed(CloseCode.NOT_AUTHENTICATED, "unauthenticated", acts.shows(lambda: None), **QUICK),
    "a forged token": closed(CloseCode.NOT_AUTHENTICATED, "unauthenticated", acts.shows(lambda: "x")),
    "revoked": closed(CloseCode.REVOKED, "revoked", acts.subject_revoked),
    "too many of a user": closed(
        CloseCode.TOO_MANY_CONNECTIONS,
        "too_many_connections",
        acts.too_many_of_a_user,
        max_connections_per_user=1,
    ),
    "no protocol": Event(
        acts.sends(BAD * 3),
        {("closed_connections", "4500", "bad_message"), ("error_frames", "bad_message")},
        many=True,
    ),
    "too many errors": Event(
        acts.sends(DANCE * 60),
        {("closed_connections", "4013", "rate_limited"), ("error_frames", "unknown_type")},
        HASTY,
        many=True,
    ),
    "abuse": Event(
        acts.abuse,
        {
            ("closed_connections", "4013", "rate_limited"),
            ("closed_connections", "4509", "abuse"),
            ("error_frames", "unknown_type"),
        },
        HASTY,
        many=True,
    ),
    "no progress": Event(
        acts.no_progress,
        {
            SUBSCRIBED,
            ("closed_connections", "1006", "no_progress"),
            ("conflated_frames", "slow"),
            ("client_queue_overflows",),
        },
        NARROW,
        many=True,
    ),
    # errors
    "no message": Event(acts.says(BAD), {("error_frames", "bad_message")}),
    "no type": Event(acts.says(DANCE), {("error_frames", "unknown_type")}),
    "no account": Event(acts.says(message("unsubscribe", channels=["b"])), {("error_frames", "bad_account")}),
    "a limit": Event(
        acts.says(message("subscribe", channels=TWO)), {("error_frames", "limit")}, {"max_subscriptions": 1}
    ),
    "too often": Event(
        acts.says(message("ping") * 5), {("error_frames", "rate_limited")}, {"message_rate": 1}, many=True
    ),
    "no access": Event(acts.no_access, {("error_frames", "no_access")}),
    "Postgres away": Event(
        acts.locked_out,
        {("error_frames", "unavailable"), ("failed_reads", "unavailable")},
        {"postgres_timeout_seconds": 0.5},
    ),
    # HTTP
    "no token": problem("unauthenticated", acts.gets("/accounts", headers={})),
    "a late token": problem("token_expired", lambda stage: stage.get("/accounts", late())),
    "a revoked token": problem("revoked", acts.revoked_request),
    "another's account": problem("no_access", lambda stage: stage.get("/accounts/a", token(["b"]))),
    "a token in the query": problem("token_in_url", acts.gets("/accounts?token=x")),
    "a bad parameter": problem("bad_parameter", acts.gets("/accounts?limit=x")),
    "a bad cursor": problem("bad_cursor", acts.gets("/accounts/alice/transfers?cursor=x")),
    "a lost cursor": problem("cursor_gone", acts.gets(f"/accounts/alice/transfers?cursor={NONE_THERE}")),
    "nothing": problem("not_found", acts.gets("/accounts/alice/transfers/none")),
    "not served": problem("method", acts.asks(BROWSE.replace(b"GET", b"DELETE"))),
    "in vain": problem("not_yet", acts.in_vain),
    "a second statement": problem("one_at_a_time", acts.second_statement),
    "away": problem("unavailable", acts.locked_request),
    "a bug of a request": problem("internal", acts.a_bug_of_a_request),
    # a stream of events
    "a stream that is lost": Event(acts.streamed, {SUBSCRIBED, ("closed_connections", "1006", "lost")}),
    "a stream of nothing": Event(
        acts.stream_of_nothing,
        {("error_frames", "no_access"), ("closed_connections", "4503", "nothing_left")},
    ),
    # subscriptions
    "left": Event(acts.left, {SUBSCRIBED, ("ended_subscriptions", "client")}),
    "erased": Event(acts.erased, {SUBSCRIBED, ("ended_subscriptions", "gone")}),
    "an account revoked": Event(acts.account_revoked, {SUBSCRIBED, ("ended_subscriptions", "revoked")}),
    "too far": Event(acts.from_position(1), {("snapshots", "too_far")}, AUDITED),
    "ahead": Event(acts.from_position(99), {("snapshots", "ahead")}, AUDITED),
    "from another epoch": Event(acts.from_position(1, "f" * 16), {("snapshots", "epoch")}, AUDITED),
    # holes
    "a gap": Event(acts.a_gap, {SUBSCRIBED, ("gap_repairs", "gap")}, RARE),
    "a header alone": Event(acts.a_header, {SUBSCRIBED, ("gap_repairs", "header_only")}, RARE),
    "a loss": Event(
        acts.a_loss, {SUBSCRIBED, ("gap_repairs", "audit"), ("audit_findings", "ahead")}, AUDITED, many=True
    ),
    "another epoch": Event(
        acts.another_epoch,
        {SUBSCRIBED, ("gap_repairs", "epoch"), ("audit_findings", "epoch"), ("snapshots", "epoch")},
        AUDITED,
        many=True,
    ),
    "back": Event(
        acts.gone_back,
        {SUBSCRIBED, ("gap_repairs", "back"), ("audit_findings", "back"), ("snapshots", "ahead")},
        AUDITED,
        many=True,
    ),
    "pages": Event(
        acts.pages,
        {SUBSCRIBED, ("gap_repairs", "gap"), ("gap_repairs", "pages")},
        {**RARE, **PAGED},
        many=True,
    ),
    "too much meanwhile": Event(
        acts.too_much_meanwhile, {SUBSCRIBED, ("gap_repairs", "gap"), ("gap_repairs", "overflow")}, RARE
    ),
    "no delta": Event(acts.no_delta, {SUBSCRIBED, ("dropped_messages", "delta")}),
    "no progress of a lane": Event(acts.no_progress_of_a_lane, {("dropped_messages", "progress")}),
    # what is left out
    "seldom": Event(acts.seldom, {SUBSCRIBED, ("conflated_frames", "rate")}, many=True),
}


@pytest.mark.parametrize("name", EVENTS)
async def test_one_thing_moves_its_series_and_no_other(
    start_gateway: StartGateway, book: Book, database: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    act, moves, settings, many = EVENTS[name]
    stage = Stage(await start_gateway(**(settings or {})), book, database, monkeypatch)
    before = shown()
    async with stage.opened:
        await act(stage)
        async with asyncio.timeout(WITHIN):
            while not moves <= set(shown() - before):  # noqa: ASYNC110 - who counts tells nobody
                await asyncio.sleep(0.02)
        grown = shown() - before
    assert set(grown) == moves
    assert many or set(grown.values()) == {1}


async def test_they_are_shown(gateway: Running) -> None:
    await talk(gateway.http, b"GET /nothing HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{gateway.http}/metrics")).text
    for name in FAMILIES:
        assert f"# HELP {name}_total" in text
    assert 'livebalance_gateway_http_problems_total{reason="not_found"}' in text


def shown_from_start() -> set[Series]:
    """By a process that has done nothing yet: it only knows its metrics."""
    code = (
        "from prometheus_client import generate_latest; import livebalance.gateway.telemetry.metrics as _; "
    )
    text = subprocess.run(
        [sys.executable, "-c", code + "print(generate_latest().decode())"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    return set(series_of(text_string_to_metric_families(text)))


LATER = {
    "4506",  # no version has been given up yet
}
ELSEWHERE = {
    ("http_problems", "bad_request"),  # of a library, with a status that has no word
    ("error_frames", "not_yet"),  # of REST
    ("error_frames", "token_in_url"),
    ("error_frames", "gone"),
}


def test_every_reason_there_is_has_its_event() -> None:
    moved = {series for event in EVENTS.values() for series in event.moves}
    told = {one[-1] for one in moved if one[0] in ("problems", "turned_away")}
    assert {one[1] for one in moved if one[0] == "closed"} >= {str(int(code)) for code in CloseCode} - LATER
    assert {one[1] for one in moved if one[0] == "repairs"} == set(get_args(Why))
    assert {one[1] for one in moved if one[0] == "snapshots"} == set(get_args(SnapshotReason))
    assert told >= set(get_args(ProblemCode)) - {one[1] for one in ELSEWHERE if one[0] == "problems"}
    errors = set(get_args(ErrorCode)) - {one[1] for one in ELSEWHERE if one[0] == "errors"}
    assert {one[1] for one in moved if one[0] == "errors"} >= errors


def test_what_moves_was_there_from_the_beginning() -> None:
    """At 0, so that a rate sees the first time. Of the ways a socket ends there are too many."""
    moved = {series for event in EVENTS.values() for series in event.moves if series[0] != "closed"}
    assert moved <= shown_from_start()


def test_what_a_socket_is_closed_with_has_words() -> None:
    """For a page to show; 1006 is no close, and the client's own it knows."""
    for event in EVENTS.values():
        for family, *labels in event.moves:
            if family == "closed" and labels[0] != "1006" and labels[1] != "client":
                assert json.loads(encode_reason(labels[1]))["message"], labels
