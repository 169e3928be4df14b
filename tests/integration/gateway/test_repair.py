"""Redis may lose, repeat, reorder, restart and go deaf: everyone has the truth again within seconds."""

import asyncio
import signal

import pytest

from livebalance.stack.servers.servers import Servers
from livebalance.wire.delta import DeltaParts, encode_delta, make_delta
from livebalance.wire.identity import AccountId, Lane, Revision
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.test_following import assert_shows
from tests.integration.gateway.viewer import Viewer


async def test_lost_deltas_are_found_by_the_audit(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.3)
    await book.open("alice", "bob")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice", "bob")
        await viewer.until(lambda: len(viewer.shown) == 2)
        book.deaf = True
        await book.move("alice", 1, 2, 3)
        assert_shows(await viewer.until_at("alice", 7), book.page("alice"))
        assert len(viewer.of_type("delta")) == 1


async def test_a_hole_is_repaired_before_any_audit(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(audit_interval_seconds=60.0)
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice")
        await viewer.until_at("alice", 1)
        book.deaf = True
        await book.move("alice", 1)
        book.deaf = False
        await book.move("alice", 2)
        assert_shows(await viewer.until_at("alice", 5), book.page("alice"))


async def test_a_header_only_is_read(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(audit_interval_seconds=60.0)
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice")
        await viewer.until_at("alice", 1)
        book.deaf = True
        await book.move("alice", 1, 2)
        header = DeltaParts(book.epoch, Revision(1), Revision(5), book.as_of, b"", b"")
        await book.publish("alice", make_delta(AccountId("alice"), Lane(0), header))
        assert_shows(await viewer.until_at("alice", 5), book.page("alice"))


async def test_repeated_reordered_and_forged_messages_harm_nobody(gateway: Running, book: Book) -> None:
    await book.open("alice")
    page = book.page("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice")
        await viewer.until_at("alice", 1)
        book.deaf = True
        deltas = [await book.commit("alice", [number, None]) for number in range(4)]
        for place in (0, 0, 2, 1, 0, 3, 2):
            await book.publish("alice", deltas[place])
        for forged in (
            b"",
            b"\x01",
            b"{}",
            encode_delta(deltas[0])[:-1],
            b"\x01" + encode_delta(deltas[0])[1:],
        ):
            await book.publish_raw("alice", forged)
        assert_shows(await viewer.until_at("alice", page.revision), page)
        book.deaf = False
        await book.move("alice", 9)
        assert_shows(await viewer.until_at("alice", page.revision), page)


@pytest.fixture
def redis_url(own_redis: Servers) -> str:
    """In this file every test may harm its Redis."""
    return own_redis.redis()


async def test_redis_killed_and_restarted_empty(
    start_gateway: StartGateway, book: Book, own_redis: Servers
) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.5)
    accounts = [f"a-{number}" for number in range(30)]
    await book.open(*accounts)
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow(*accounts)
        await viewer.until(lambda: len(viewer.shown) == 30)
        child = own_redis.own["redis"].child
        child.kill()
        await viewer.until(lambda: viewer.of_type("status")[-1]["state"] == "stalled")
        book.deaf = True
        await book.write({account: [5, None] for account in accounts})
        child.start()
        child.wait_for("Ready to accept connections", 10)
        await viewer.until(lambda: viewer.of_type("status")[-1]["state"] == "live", within=20)
        book.deaf = False
        await book.write({account: [6, None] for account in accounts})
        for account in accounts:
            assert_shows(await viewer.until_at(account, 5), book.page(account))


async def test_a_deaf_redis_is_noticed(start_gateway: StartGateway, book: Book, own_redis: Servers) -> None:
    """Stopped, it neither answers nor closes: only the probe tells."""
    gateway = await start_gateway(audit_interval_seconds=0.5, redis_probe_interval_seconds=0.3)
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice")
        await viewer.until_at("alice", 1)
        child = own_redis.own["redis"].child
        child.send(signal.SIGSTOP)
        try:
            await viewer.until(lambda: viewer.of_type("status")[-1]["state"] == "stalled")
            book.deaf = True
            await book.move("alice", 1)
            await viewer.until_at("alice", 3)  # by the audit
        finally:
            child.send(signal.SIGCONT)
        await viewer.until(lambda: viewer.of_type("status")[-1]["state"] == "live", within=20)
        book.deaf = False
        await book.move("alice", 2)
        assert_shows(await viewer.until_at("alice", 5), book.page("alice"))


async def test_connections_that_redis_drops_are_made_again(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(audit_interval_seconds=60.0)
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice")
        await viewer.until_at("alice", 1)
        await book.kill_subscribers()
        book.deaf = True
        await book.move("alice", 1)  # lost, and found by the audit that follows a reconnect
        assert_shows(await viewer.until_at("alice", 3), book.page("alice"))
        book.deaf = False
        await book.move("alice", 2)
        assert_shows(await viewer.until_at("alice", 5), book.page("alice"))


async def test_a_joiner_is_told_when_redis_is_away(
    start_gateway: StartGateway, book: Book, own_redis: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.live.hub.ACK_WITHIN", 0.5)
    gateway = await start_gateway()
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        own_redis.own["redis"].child.kill()
        await asyncio.sleep(0)
        await viewer.follow("alice")
        await viewer.until(lambda: viewer.of_type("error"))
        assert viewer.of_type("error")[0]["code"] == "unavailable"


async def test_a_bug_in_what_all_share_ends_the_process(
    start_gateway: StartGateway, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor starts it anew, with a state that is right."""
    gateway = await start_gateway()
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice")
        await viewer.until_at("alice", 1)
        monkeypatch.setattr("livebalance.gateway.live.hub.Hub.delta", lambda *_: 1 / 0)
        await book.move("alice", 1)
        died = await gateway.fell()
        assert isinstance(died, ExceptionGroup)
        assert died.subgroup(ZeroDivisionError)
