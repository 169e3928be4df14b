"""Whatever is closed, refused, repaired or left out moves a series that says why."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.gateway.bad_input.raw import BINARY, TEXT, UPGRADE, Raw, frame, message, talk
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.listener import Listener
from tests.integration.gateway.viewer import Viewer, position
from tests.tokens import token

END = b"\r\n"
Series = tuple[str, tuple[tuple[str, str], ...]]


async def shown(gateway: Running) -> dict[Series, float]:
    """Every series of /metrics; a counter by its name without _total."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{gateway.http}/metrics")).text
    return {
        (one.name.removesuffix("_total"), tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def series(name: str, **labels: str) -> Series:
    return f"livebalance_gateway_{name}", tuple(sorted(labels.items()))


async def moves(gateway: Running, what: Callable[[], Awaitable[None]], *expected: Series) -> None:
    """Each of the series has grown after it."""
    before = await shown(gateway)
    await what()
    missing = set(expected)
    ends = time.monotonic() + 8
    while missing:
        assert time.monotonic() < ends, missing
        after = await shown(gateway)
        missing = {one for one in expected if after.get(one, 0) <= before.get(one, 0)}
    assert set(before) <= set(after)  # a series that was there stays


async def test_refusals(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(hosts=("here", "127.0.0.1"), sockets_per_address=1, head_within=0.2)

    async def refused() -> None:
        await talk(gateway.http, UPGRADE.replace(b"here", b"there") + END)
        await talk(gateway.http, UPGRADE.replace(b"livebalance.v1", b"x") + END)
        await talk(gateway.http, UPGRADE.replace(b": 13", b": 8") + END)
        await talk(gateway.http, UPGRADE + b"Origin: http://there\r\n" + END)
        await talk(gateway.http, b"GET /api/nothing HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" + END)
        async with await Raw.open(gateway.http):
            await talk(gateway.http, UPGRADE + END)
        async with await Raw.connect(gateway.http) as slow:
            slow.send(UPGRADE)
            await slow.rest()

    words = ("host", "subprotocol", "websocket_version", "origin", "address_full", "slow_head")
    await moves(
        gateway,
        refused,
        *(series("turned_away", reason=word) for word in words),
        series("http_answers", status="404"),
    )


async def test_streams(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(sockets_per_address=1)
    await book.open("alice")

    async def streamed() -> None:
        async with Listener(gateway.http, "alice") as one:
            await one.until_at("alice", 1)
            assert (await shown(gateway))[series("streams")] == 1
            async with Listener(gateway.http, "alice") as other:
                assert other.status == 429
        await gateway.until_sessions(0)
        assert (await shown(gateway))[series("streams")] == 0
        async with Listener(gateway.http, "alice", shows=token([])) as nothing:
            await nothing.until_end()

    await moves(
        gateway,
        streamed,
        series("turned_away", reason="address_full"),
        series("http_answers", status="429"),
        series("closed", code="1006", reason="lost"),
        series("closed", code="4503", reason="nothing_left"),
        series("errors", reason="no_access"),
        series("sent_bytes"),
        series("snapshots", reason="subscribed"),
    )


async def test_ends_and_errors(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(subscriptions=1, messages_per_second=1, assembly=0.2)

    async def ends() -> None:
        async with await Raw.open(gateway.http) as binary:
            binary.send(frame(BINARY, b"x"))
            await binary.closed()
        async with await Raw.open(gateway.http) as slow:
            slow.send(frame(TEXT, b"x", fin=False))
            await slow.closed()
        async with await Raw.open(gateway.http) as bad:
            bad.send(frame(TEXT, b"x") * 3)
            await bad.closed()
        async with await Raw.open(gateway.http):
            pass  # and away, without a word
        async with await Raw.open(gateway.http) as polite:
            polite.send(frame(8, (1000).to_bytes(2, "big")))
            await polite.rest()
        async with await Raw.open(gateway.http) as odd:
            odd.send(frame(8, (4321).to_bytes(2, "big")))
            await odd.rest()
        async with await Raw.open(gateway.http) as asks:
            names = [{"channel": "account:a"}, {"channel": "account:b"}]
            asks.send(message("subscribe", channels=names) + message("dance"))
            asks.send(message("unsubscribe", channels=["b"]) + message("ping"))
            for _ in range(4):
                await asks.until("error")

    await moves(
        gateway,
        ends,
        series("closed", code="1003", reason="binary"),
        series("closed", code="1008", reason="assembly"),
        series("closed", code="4500", reason="bad_message"),
        series("closed", code="1006", reason="lost"),
        series("closed", code="1000", reason="client"),
        series("closed", code="other", reason="client"),
        *(series("errors", reason=word) for word in ("bad_message", "unknown_type", "bad_account", "limit")),
        series("errors", reason="rate_limited"),
    )


async def test_a_drain(start_gateway: StartGateway) -> None:
    gateway, other = await start_gateway(drain=0.5), await start_gateway()

    async def drained() -> None:
        async with await Raw.open(gateway.http) as one:
            stopping = asyncio.create_task(gateway.stop())
            await one.until("goaway")
            await talk(gateway.http, UPGRADE + END)
            await one.closed()
            await stopping

    await moves(
        other,
        drained,
        series("closed", code="4000", reason="drain"),
        series("turned_away", reason="draining"),
    )


async def test_snapshots_and_repairs(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(audit_period=0.3, resume_max=2)
    await book.open("alice", "bob")
    await book.move("alice", 1, 2, 3)

    async def repaired() -> None:
        async with Viewer(gateway.ws) as viewer:
            for at in ({"revision": 1}, {"revision": 99}, {"revision": 1, "epoch": "f" * 16}, None):
                count = len(viewer.of_type("snapshot"))
                await viewer.follow("alice", at=at and {"epoch": book.epoch, **at})
                await viewer.until(lambda count=count: len(viewer.of_type("snapshot")) > count)
            await viewer.follow("bob")
            await viewer.until_at("bob", 1)
            book.deaf = True
            await book.move("alice", 1)  # found by the audit
            await viewer.until_at("alice", 9)
            await book.move("bob", 1)
            book.deaf = False
            await book.move("bob", 1)  # a gap
            await viewer.until_at("bob", 5)
            book.deaf = True
            delta = await book.commit("bob", [1, None])
            await book.publish("bob", delta._replace(balance=b"", transfers=b""))
            await viewer.until_at("bob", 7)
            await book.publish_raw("bob", b"none of ours")
            await book.publish_to_lane(0, b"none of ours")
            await book.change_epoch("00000000000000b2")
            await viewer.until(
                lambda: all(position(one)["epoch"] == book.epoch for one in viewer.shown.values())
            )
            await book.erase("bob")
            await viewer.until(lambda: viewer.of_type("unsubscribed"))

    await moves(
        gateway,
        repaired,
        *(series("snapshots", reason=word) for word in ("subscribed", "too_far", "ahead", "epoch")),
        *(series("repairs", reason=word) for word in ("audit", "gap", "header_alone", "epoch")),
        *(series("audit_findings", reason=word) for word in ("ahead", "epoch")),
        *(series("dropped_messages", reason=word) for word in ("delta", "progress")),
        series("unsubscribed", reason="gone"),
    )


async def test_what_is_left_out(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway()
    await book.open("alice")

    async def conflated() -> None:
        async with Viewer(gateway.ws) as viewer, Viewer(gateway.ws) as quick:
            await quick.follow("alice")
            await viewer.follow("alice")
            await viewer.until_at("alice", 1)
            await viewer.ask("rate", max_per_second=0.02)
            await book.move("alice", 1)
            await viewer.until_at("alice", 3)
            for number in range(5):
                await book.move("alice", number)
            await quick.until_at("alice", 13)
            await viewer.ask("rate", max_per_second=None)
            await viewer.until_at("alice", 13)

    await moves(gateway, conflated, series("conflated_frames", reason="rate"))
