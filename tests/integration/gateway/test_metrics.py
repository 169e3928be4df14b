"""Whatever is closed, refused, repaired or left out moves the series that says why, and no other."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, get_args

import asyncpg
import httpx
import jwt
import pytest
from prometheus_client import REGISTRY

from livebalance.gateway import channel, lounge, relay
from livebalance.gateway.channel import Why
from livebalance.gateway.cursor import older_than
from livebalance.readmodel.revocations import revoke
from livebalance.stack.database import Database
from livebalance.wire.close import Close, reason
from livebalance.wire.delta import parts_of, written
from livebalance.wire.frame import ErrorCode, SnapshotReason
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.problem import ProblemCode
from tests.integration.gateway.bad_input.raw import (
    BINARY,
    BROWSE,
    CLOSE,
    CONT,
    PING,
    TEXT,
    UPGRADE,
    Raw,
    frame,
    message,
    talk,
)
from tests.integration.gateway.bad_input.test_flood import narrow
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.listener import Listener
from tests.integration.gateway.viewer import Viewer, position
from tests.tokens import bearer, claims, signed, token

END = b"\r\n"
WITHIN = 12.0
Series = tuple[str, ...]  # its name without what all have, and its labels

# These say why. The others count traffic.
FAMILIES = {
    f"livebalance_gateway_{name}": name
    for name in (
        "audit_findings",
        "closed",
        "conflated_frames",
        "dropped_messages",
        "errors",
        "failed_reads",
        "forgotten_outboxes",
        "problems",
        "repairs",
        "snapshots",
        "turned_away",
        "unsubscribed",
    )
}


def shown() -> Counter[Series]:
    """The gateway is in this process."""
    return Counter(
        {
            (FAMILIES[family.name], *one.labels.values()): int(one.value)
            for family in REGISTRY.collect()
            for one in family.samples
            if family.name in FAMILIES and one.name.endswith("_total")
        }
    )


class Stage:
    """A gateway on which one thing happens; what was opened stays open until that was counted."""

    def __init__(self, gateway: Running, book: Book, database: Database, patch: pytest.MonkeyPatch) -> None:
        self.gateway, self.book, self.database, self.patch = gateway, book, database, patch
        self.opened = AsyncExitStack()

    async def talk(self, request: bytes) -> None:
        await talk(self.gateway.http, request)

    async def get(self, path: str, given: str | None = None, headers: dict[str, str] | None = None) -> None:
        async with httpx.AsyncClient(base_url=f"{self.gateway.http}/api/v1", timeout=WITHIN) as client:
            await client.get(path, headers=bearer(given) if headers is None else headers)

    async def open(self) -> Raw:
        return await self.opened.enter_async_context(await Raw.open(self.gateway.http))

    async def connect(self, **options: Any) -> Raw:
        return await self.opened.enter_async_context(await Raw.connect(self.gateway.http, **options))

    async def viewer(self, **options: Any) -> Viewer:
        return await self.opened.enter_async_context(Viewer(self.gateway.ws, **options))

    async def following(self, account: str, **options: Any) -> Viewer:
        await self.book.open(account)
        viewer = await self.viewer(**options)
        await viewer.follow(account)
        await viewer.until_at(account, 1)
        return viewer

    async def taken_back(self, **named: Any) -> None:
        operator = await asyncpg.connect(self.database.url("operator"))
        await revoke(operator, named.get("subject"), None, named.get("account"), "a test")
        await operator.close()


Act = Callable[[Stage], Awaitable[object]]


# --- how each thing happens


async def streamed(stage: Stage) -> None:
    await stage.book.open("alice")
    async with Listener(stage.gateway.http, "alice") as one:
        await one.until_at("alice", 1)


async def stream_of_nothing(stage: Stage) -> None:
    async with Listener(stage.gateway.http, "alice", shows=token([])) as one:
        await one.until_end()


def asks(request: bytes) -> Act:
    return lambda stage: stage.talk(request + END)


def gets(path: str, **options: Any) -> Act:
    return lambda stage: stage.get(path, **options)


def sends(*data: bytes) -> Act:
    """And reads until it is closed."""

    async def act(stage: Stage) -> None:
        one = await stage.open()
        for some in data:
            one.send(some)
        await one.rest()

    return act


def says(*data: bytes) -> Act:
    """And is answered."""

    async def act(stage: Stage) -> None:
        one = await stage.open()
        for some in data:
            one.send(some)
            await one.until("error")

    return act


def shows(given: Callable[[], str | None]) -> Act:
    async def act(stage: Stage) -> None:
        await (await stage.viewer(shows=given())).until_closed()

    return act


async def silence(stage: Stage) -> None:
    await (await stage.connect()).rest()


async def half_a_head(stage: Stage) -> None:
    one = await stage.connect()
    one.send(UPGRADE)
    await one.rest()


async def one_more(stage: Stage) -> None:
    await stage.open()
    await stage.talk(UPGRADE + END)


async def not_ready(stage: Stage) -> None:
    stage.patch.setattr(relay, "READY_WITHIN", -1.0)
    await stage.talk(UPGRADE + END)


async def away(stage: Stage) -> None:
    (await stage.open()).writer.transport.abort()


async def no_pong(stage: Stage) -> None:
    one = await stage.connect()
    one.send(UPGRADE + END)
    one.send(message("auth", token=token()))
    await one.rest()


async def no_progress(stage: Stage) -> None:
    await stage.book.open("busy")
    one = await stage.opened.enter_async_context(
        await Raw.open(stage.gateway.http, sock=narrow(stage), limit=1024)  # type: ignore[arg-type]  # as much as it needs
    )
    one.send(message("subscribe", channels=[{"channel": "account:busy"}]))
    await one.until("snapshot")
    one.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for number in range(60):
        await stage.book.move("busy", *[number] * 20)
    await stage.gateway.until_sessions(0)


async def a_bug(stage: Stage) -> None:
    one = await stage.open()
    stage.patch.setattr("livebalance.gateway.session.Session.receive", None)
    one.send(message("ping"))
    await one.closed()


async def a_bug_of_a_request(stage: Stage) -> None:
    stage.patch.setattr("livebalance.readmodel.reads.listed", None)
    await stage.get("/accounts")


async def abuse(stage: Stage) -> None:
    for _ in range(3):
        one = await stage.open()
        one.send(frame(TEXT, b'{"type":"dance","id":1}') * 60)
        await one.closed()


async def drained(stage: Stage) -> None:
    one = await stage.open()
    stopping = asyncio.create_task(stage.gateway.stop())
    await one.until("goaway")
    await stage.talk(UPGRADE + END)
    await one.closed()
    await stopping


async def stopped(stage: Stage) -> None:
    """Without having been asked to leave."""

    async def at_once(*_: object) -> None: ...

    one = await stage.open()
    stage.patch.setattr(relay.Relay, "drain", at_once)
    stopping = asyncio.create_task(stage.gateway.stop())
    await one.closed()
    await stopping


async def expired(stage: Stage) -> None:
    await (await stage.viewer(shows=token(seconds=2))).until_closed()


async def subject_revoked(stage: Stage) -> None:
    viewer = await stage.viewer(shows=token(sub="me"))
    await viewer.until(lambda: viewer.of_type("welcome"))
    await stage.taken_back(subject="me")
    await viewer.until_closed()


async def revoked_request(stage: Stage) -> None:
    await stage.taken_back(subject="you")
    async with asyncio.timeout(WITHIN), httpx.AsyncClient(base_url=stage.gateway.http) as client:
        while (await client.get("/api/v1/accounts", headers=bearer(token(sub="you")))).status_code == 200:
            pass


async def account_revoked(stage: Stage) -> None:
    viewer = await stage.following("revoked")
    await stage.taken_back(account=AccountId("revoked"))
    await viewer.until(lambda: viewer.of_type("unsubscribed"))


async def left(stage: Stage) -> None:
    """Twice, and another that was never followed: one subscription ends."""
    viewer = await stage.following("left")
    for _ in range(2):
        asked = await viewer.ask("unsubscribe", channels=["account:left", "account:never"])
        await viewer.until(lambda asked=asked: asked in [one["id"] for one in viewer.of_type("ok")])


async def erased(stage: Stage) -> None:
    viewer = await stage.following("erased")
    await stage.book.erase("erased")
    await viewer.until(lambda: viewer.of_type("unsubscribed"))


async def a_new_key(stage: Stage) -> None:
    """It may be published, and is not known here."""
    stage.patch.setattr("livebalance.gateway.keys.Keys.may_come", lambda *_: True)
    new = jwt.encode(claims(), "a secret nobody has heard of until now", "HS256", {"kid": "new"})
    await (await stage.viewer(shows=new)).until_closed()


async def no_access(stage: Stage) -> None:
    viewer = await stage.viewer(shows=token(["bob"]))
    await viewer.follow("alice")
    await viewer.until(lambda: viewer.of_type("error"))


async def too_many_of_a_user(stage: Stage) -> None:
    first = await stage.viewer(shows=token(sub="me"))
    await first.until(lambda: first.of_type("welcome"))
    await (await stage.viewer(shows=token(sub="me"))).until_closed()


async def locked_out(stage: Stage) -> None:
    """Postgres does not answer."""
    owner = await asyncpg.connect(stage.database.url("owner"))
    async with owner.transaction():
        await owner.execute("lock table balance in access exclusive mode")
        viewer = await stage.viewer()
        await viewer.follow("alice")
        await viewer.until(lambda: viewer.of_type("error"))
    await owner.close()


async def locked_request(stage: Stage) -> None:
    stage.patch.setattr("livebalance.gateway.truth.DEADLINE", 0.3)
    owner = await asyncpg.connect(stage.database.url("owner"))
    async with owner.transaction():
        await owner.execute("lock table balance in access exclusive mode")
        await stage.get("/accounts")
    await owner.close()


async def in_vain(stage: Stage) -> None:
    stage.patch.setattr(lounge, "WITHIN", 0.1)
    await stage.get("/accounts/nobody?min_revision=9")


def from_position(revision: int, epoch: str = "") -> Act:
    async def act(stage: Stage) -> None:
        await stage.book.open("alice")
        await stage.book.move("alice", 1, 2, 3)
        viewer = await stage.viewer()
        await viewer.follow("alice", at={"epoch": epoch or stage.book.epoch, "revision": revision})
        await viewer.until_at("alice", 7)

    return act


async def a_gap(stage: Stage) -> None:
    viewer = await stage.following("alice")
    stage.book.deaf = True
    await stage.book.move("alice", 1)
    stage.book.deaf = False
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 5)


async def a_header(stage: Stage) -> None:
    viewer = await stage.following("alice")
    delta = await stage.book.commit("alice", [1, None])
    alone = parts_of(delta.text)._replace(balance=b"", transfers=b"")
    await stage.book.publish("alice", written(AccountId("alice"), delta.lane, alone))
    await viewer.until_at("alice", 3)


async def a_loss(stage: Stage) -> None:
    """It is found by an audit."""
    viewer = await stage.following("alice")
    stage.book.deaf = True
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 3)


async def another_epoch(stage: Stage) -> None:
    viewer = await stage.following("alice")
    await stage.book.change_epoch("00000000000000b2")
    await viewer.until(lambda: position(viewer.shown["alice"])["epoch"] == stage.book.epoch)


async def gone_back(stage: Stage) -> None:
    """Postgres has less than was relayed."""
    viewer = await stage.following("alice")
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 3)
    await stage.book.execute("update balance set revision = 2 where account_id = 'alice'")
    await viewer.until_at("alice", 2)


async def pages(stage: Stage) -> None:
    viewer = await stage.following("alice")
    stage.book.deaf = True
    await stage.book.move("alice", *range(5))
    stage.book.deaf = False
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 13)


async def too_much_meanwhile(stage: Stage) -> None:
    """What comes while Postgres is asked is more than is kept."""
    viewer = await stage.following("alice")
    stage.patch.setattr(channel, "KEPT_BYTES", 10)
    _, second, third = [await stage.book.commit("alice", [1, None]) for _ in range(3)]
    owner = await asyncpg.connect(stage.database.url("owner"))
    async with owner.transaction(), asyncio.timeout(WITHIN):
        await owner.execute("lock table balance in access exclusive mode")
        for delta in (second, third):  # the first is missing: Postgres is asked, and has to wait
            heard = REGISTRY.get_sample_value("livebalance_gateway_deltas_total") or 0
            await stage.book.publish("alice", delta)
            while REGISTRY.get_sample_value("livebalance_gateway_deltas_total") == heard:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await viewer.until_at("alice", 7)
    await owner.close()


async def no_delta(stage: Stage) -> None:
    await stage.following("alice")
    await stage.book.publish_raw("alice", b"none of ours")


async def no_progress_of_a_lane(stage: Stage) -> None:
    await stage.book.publish_to_lane(0, b"none of ours")


async def seldom(stage: Stage) -> None:
    quick = await stage.following("alice")
    viewer = await stage.viewer()
    await viewer.follow("alice")
    await viewer.until_at("alice", 1)
    await viewer.ask("rate", max_per_second=0.02)
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 3)
    for number in range(5):
        await stage.book.move("alice", number)
    await quick.until_at("alice", 13)
    await viewer.ask("rate", max_per_second=None)
    await viewer.until_at("alice", 13)


# --- what each moves

HOSTS = {"hosts": ("here", "127.0.0.1")}
QUICK: dict[str, Any] = {"head_within": 0.2, "assembly": 0.2, "auth_within": 0.3}
NARROW: dict[str, Any] = {
    "send_buffer_bytes": 8192,
    "ping_period": 1.0,
    "no_progress": 2.0,
}  # below a second, what a system repeats tells nothing
AUDITED: dict[str, Any] = {"audit_period": 0.3, "resume_max": 2}
PAGED: dict[str, Any] = {"page_rows": 2}
RARE: dict[str, Any] = {"audit_period": 60.0}
HASTY: dict[str, Any] = {"messages_per_second": 1000}


class Event(NamedTuple):
    """`moves` are the series that grow, and no other; each by one, unless there are `many`."""

    act: Act
    moves: set[Series]
    settings: Mapping[str, Any] | None = None
    many: bool = False


def turned(reason: str, act: Act, **settings: Any) -> Event:
    return Event(act, {("turned_away", reason)}, settings)


def closed(code: int | str, reason: str, act: Act, **settings: Any) -> Event:
    return Event(act, {("closed", str(int(code) if code != "other" else code), reason)}, settings)


def problem(code: str, act: Act, **settings: Any) -> Event:
    return Event(act, {("problems", code)}, settings)


def late() -> str:
    return signed(claims(exp=int(time.time()) - 100))


SUBSCRIBED = ("snapshots", "subscribed")
DANCE = frame(TEXT, b'{"type":"dance","id":1}')
BAD = frame(TEXT, b"x")
TWO = [{"channel": "account:a"}, {"channel": "account:b"}]
NONE_THERE = older_than(AccountId("alice"), TransferId("never-there"))

EVENTS: dict[str, Event] = {
    # before the upgrade, and before a request is served
    "another host": turned("host", asks(UPGRADE.replace(b"here", b"there")), **HOSTS),
    "HTTP/1.0": turned("http_version", asks(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))),
    "TLS": turned("bad_request", asks(b"\x16\x03\x01\x02")),
    "a method that is none": turned("method", asks(BROWSE.replace(b"GET", b"DANCE"))),
    "a head too large": turned("head_too_large", asks(BROWSE + b"X: " + b"a" * 9000 + END)),
    "a target too long": turned("target_too_long", asks(BROWSE.replace(b"counts", b"a" * 9000))),
    "clear text": turned("not_secure", asks(BROWSE), tls_only=True),
    "many ranges": turned("ranges", asks(BROWSE + b"Range: bytes=" + b"0-," * 9 + b"0-" + END)),
    "silence": turned("silent", silence, **QUICK),
    "half a head": turned("slow_head", half_a_head, **QUICK),
    "no handshake": turned("handshake", asks(UPGRADE.replace(b"AAAA==", b""))),
    "no such socket": turned("not_found", asks(UPGRADE.replace(b"/ws", b"/x"))),
    "not GET": turned("method", asks(UPGRADE.replace(b"GET", b"POST"))),
    "a token in the address": turned("token_in_url", asks(UPGRADE.replace(b"/ws", b"/ws?token=x"))),
    "another origin": turned("origin", asks(UPGRADE + b"Origin: http://there" + END)),
    "another version": turned("websocket_version", asks(UPGRADE.replace(b": 13", b": 8"))),
    "another subprotocol": turned("subprotocol", asks(UPGRADE.replace(b"livebalance.v1", b"x"))),
    "a full house": turned("full", one_more, sockets=1),
    "too fast": turned("too_fast", one_more, new_sockets=0.5),
    "a full address": turned("address_full", one_more, sockets_per_address=1),
    "an address too fast": turned("address_too_fast", one_more, new_sockets_per_address=0.5),
    "not ready": turned("not_ready", not_ready),
    "a drain": Event(drained, {("turned_away", "draining"), ("closed", "4000", "drain")}, {"drain": 0.5}),
    # the end of a socket
    "a polite end": closed(1000, "client", sends(frame(CLOSE, (1000).to_bytes(2, "big")))),
    "an odd end": closed("other", "client", sends(frame(CLOSE, (4321).to_bytes(2, "big")))),
    "gone": closed(1006, "lost", away),
    "no pong": closed(1006, "silent", no_pong, ping_period=0.2, heartbeat=60.0),
    "stopping": closed(Close.GOING_AWAY, "stopping", stopped),
    "no WebSocket": closed(Close.PROTOCOL_ERROR, "protocol_error", sends(frame(7, b"x"))),
    "binary": closed(Close.UNSUPPORTED, "binary", sends(frame(BINARY, b"x"))),
    "no UTF-8": closed(Close.BAD_TEXT, "bad_text", sends(frame(TEXT, b"\xff"))),
    "pings": closed(Close.POLICY, "controls", sends(frame(PING) * 100)),
    "fragments": closed(
        Close.POLICY, "fragments", sends(frame(TEXT, fin=False), frame(CONT, fin=False) * 100)
    ),
    "no end": closed(Close.POLICY, "assembly", sends(frame(TEXT, b"x", fin=False)), **QUICK),
    "too big": closed(Close.TOO_BIG, "too_big", sends(frame(TEXT, b"x" * 20_000))),
    "a bug": closed(Close.INTERNAL, "internal", a_bug),
    "expired": closed(Close.TOKEN_EXPIRED, "token_expired", shows(late)),
    "expired meanwhile": closed(Close.TOKEN_EXPIRED, "token_expired", expired),
    "no key yet": closed(Close.BUSY, "keys_missing", a_new_key),
    "a stranger": closed(Close.NOT_AUTHENTICATED, "unauthenticated", shows(lambda: None), **QUICK),
    "a forged token": closed(Close.NOT_AUTHENTICATED, "unauthenticated", shows(lambda: "x")),
    "revoked": closed(Close.REVOKED, "revoked", subject_revoked),
    "too many of a user": closed(
        Close.TOO_MANY_CONNECTIONS, "too_many_connections", too_many_of_a_user, sockets_per_user=1
    ),
    "no protocol": Event(
        sends(BAD * 3), {("closed", "4500", "bad_message"), ("errors", "bad_message")}, many=True
    ),
    "too many errors": Event(
        sends(DANCE * 60), {("closed", "4013", "rate_limited"), ("errors", "unknown_type")}, HASTY, many=True
    ),
    "abuse": Event(
        abuse,
        {("closed", "4013", "rate_limited"), ("closed", "4509", "abuse"), ("errors", "unknown_type")},
        HASTY,
        many=True,
    ),
    "no progress": Event(
        no_progress,
        {
            SUBSCRIBED,
            ("closed", "1006", "no_progress"),
            ("conflated_frames", "slow"),
            ("forgotten_outboxes",),
        },
        NARROW,
        many=True,
    ),
    # errors
    "no message": Event(says(BAD), {("errors", "bad_message")}),
    "no type": Event(says(DANCE), {("errors", "unknown_type")}),
    "no account": Event(says(message("unsubscribe", channels=["b"])), {("errors", "bad_account")}),
    "a limit": Event(says(message("subscribe", channels=TWO)), {("errors", "limit")}, {"subscriptions": 1}),
    "too often": Event(
        says(message("ping") * 5), {("errors", "rate_limited")}, {"messages_per_second": 1}, many=True
    ),
    "no access": Event(no_access, {("errors", "no_access")}),
    "Postgres away": Event(
        locked_out, {("errors", "unavailable"), ("failed_reads", "away")}, {"read_deadline": 0.5}
    ),
    # HTTP
    "no token": problem("unauthenticated", gets("/accounts", headers={})),
    "a late token": problem("token_expired", lambda stage: stage.get("/accounts", late())),
    "a revoked token": problem("revoked", revoked_request),
    "another's account": problem("no_access", lambda stage: stage.get("/accounts/a", token(["b"]))),
    "a token in the query": problem("token_in_url", gets("/accounts?token=x")),
    "a bad parameter": problem("bad_parameter", gets("/accounts?limit=x")),
    "a bad cursor": problem("bad_cursor", gets("/accounts/alice/transfers?cursor=x")),
    "a lost cursor": problem("cursor_gone", gets(f"/accounts/alice/transfers?cursor={NONE_THERE}")),
    "nothing": problem("not_found", gets("/accounts/alice/transfers/none")),
    "not served": problem("method", asks(BROWSE.replace(b"GET", b"DELETE"))),
    "in vain": problem("not_yet", in_vain),
    "away": problem("unavailable", locked_request),
    "a bug of a request": problem("internal", a_bug_of_a_request),
    # a stream of events
    "a stream that is lost": Event(streamed, {SUBSCRIBED, ("closed", "1006", "lost")}),
    "a stream of nothing": Event(
        stream_of_nothing, {("errors", "no_access"), ("closed", "4503", "nothing_left")}
    ),
    # subscriptions
    "left": Event(left, {SUBSCRIBED, ("unsubscribed", "client")}),
    "erased": Event(erased, {SUBSCRIBED, ("unsubscribed", "gone")}),
    "an account revoked": Event(account_revoked, {SUBSCRIBED, ("unsubscribed", "revoked")}),
    "too far": Event(from_position(1), {("snapshots", "too_far")}, AUDITED),
    "ahead": Event(from_position(99), {("snapshots", "ahead")}, AUDITED),
    "from another epoch": Event(from_position(1, "f" * 16), {("snapshots", "epoch")}, AUDITED),
    # holes
    "a gap": Event(a_gap, {SUBSCRIBED, ("repairs", "gap")}, RARE),
    "a header alone": Event(a_header, {SUBSCRIBED, ("repairs", "header_alone")}, RARE),
    "a loss": Event(
        a_loss, {SUBSCRIBED, ("repairs", "audit"), ("audit_findings", "ahead")}, AUDITED, many=True
    ),
    "another epoch": Event(
        another_epoch,
        {SUBSCRIBED, ("repairs", "epoch"), ("audit_findings", "epoch"), ("snapshots", "epoch")},
        AUDITED,
        many=True,
    ),
    "back": Event(
        gone_back,
        {SUBSCRIBED, ("repairs", "back"), ("audit_findings", "back"), ("snapshots", "ahead")},
        AUDITED,
        many=True,
    ),
    "pages": Event(
        pages, {SUBSCRIBED, ("repairs", "gap"), ("repairs", "pages")}, {**RARE, **PAGED}, many=True
    ),
    "too much meanwhile": Event(
        too_much_meanwhile, {SUBSCRIBED, ("repairs", "gap"), ("repairs", "overflow")}, RARE
    ),
    "no delta": Event(no_delta, {SUBSCRIBED, ("dropped_messages", "delta")}),
    "no progress of a lane": Event(no_progress_of_a_lane, {("dropped_messages", "progress")}),
    # what is left out
    "seldom": Event(seldom, {SUBSCRIBED, ("conflated_frames", "rate")}, many=True),
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
    assert 'livebalance_gateway_problems_total{reason="not_found"}' in text


LATER = {
    "4506",  # no version has been given up yet
}
ELSEWHERE = {
    ("problems", "bad_request"),  # of a library, with a status that has no word
    ("errors", "not_yet"),  # of REST
    ("errors", "token_in_url"),
    ("errors", "gone"),
}


def test_every_reason_there_is_has_its_event() -> None:
    moved = {series for event in EVENTS.values() for series in event.moves}
    told = {one[-1] for one in moved if one[0] in ("problems", "turned_away")}
    assert {one[1] for one in moved if one[0] == "closed"} >= {str(int(code)) for code in Close} - LATER
    assert {one[1] for one in moved if one[0] == "repairs"} == set(get_args(Why))
    assert {one[1] for one in moved if one[0] == "snapshots"} == set(get_args(SnapshotReason))
    assert told >= set(get_args(ProblemCode)) - {one[1] for one in ELSEWHERE if one[0] == "problems"}
    errors = set(get_args(ErrorCode)) - {one[1] for one in ELSEWHERE if one[0] == "errors"}
    assert {one[1] for one in moved if one[0] == "errors"} >= errors


def test_what_a_socket_is_closed_with_has_words() -> None:
    """For a page to show; 1006 is no close, and the client's own it knows."""
    for event in EVENTS.values():
        for family, *labels in event.moves:
            if family == "closed" and labels[0] != "1006" and labels[1] != "client":
                assert json.loads(reason(labels[1]))["message"], labels
