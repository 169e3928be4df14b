"""From subscribe to live deltas, on real servers."""

import asyncio

from tests.integration.gateway.book import Book, Page
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.viewer import Frame, Shown, Viewer


def assert_shows(shown: Shown, page: Page) -> None:
    """All of it: every transfer was shown since the account was opened."""
    assert [(one["id"], one["amount"], one["total"], one["revision"]) for one in shown.transfers] == [
        (one.id, one.amount, one.total, one.revision) for one in page.transfers
    ]
    view = page.balance()
    assert (shown.balance and shown.balance["amount"]) == (view and view.amount)


def names(frames: list[Frame]) -> list[str]:
    return [frame["type"] for frame in frames]


async def test_a_snapshot_then_live_deltas(gateway: Running, book: Book) -> None:
    await book.open("alice")
    await book.move("alice", 1250, -300)
    async with Viewer(gateway.ws) as viewer:
        asked = await viewer.follow("alice")
        await viewer.until_at("alice", 5)
        await viewer.until(lambda: {"type": "ok", "id": asked} in viewer.frames)
        snapshot = viewer.of_type("snapshot")[0]
        assert (snapshot["reason"], snapshot["cursor"]) == ("subscribed", None)
        assert [one["id"] for one in snapshot["transfers"]] == ["t-1", "t-0"]
        assert snapshot["as_of"] is not None
        await book.move("alice", 5)
        await book.write({"alice": [7]})
        shown = await viewer.until_at("alice", 8)
        assert viewer.of_type("delta")[0]["from"] == 5
        assert_shows(shown, book.page("alice"))
        assert shown.balance
        assert (shown.balance["amount"], shown.balance["half_applied"]) == ("9.55", "0.07")


async def test_the_welcome_says_what_holds_here(gateway: Running, book: Book) -> None:
    async with Viewer(gateway.ws) as viewer:
        await viewer.until(lambda: len(viewer.frames) >= 2)
        welcome, status = viewer.frames[:2]
        assert welcome["gateway"] == "gateway-test"
        assert welcome["epoch"] == book.epoch
        assert welcome["limits"] == {
            "message_bytes": 16384,
            "subscriptions": 128,
            "resume_max": 10000,
            "messages_per_second": 10.0,
            "connections_per_address": 200,
            "connections_per_user": 10,
        }
        assert status["type"] == "status"


async def test_an_account_that_does_not_exist_yet_comes_alive(gateway: Running, book: Book) -> None:
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("newborn")
        shown = await viewer.until_at("newborn", 0)
        assert (shown.balance, shown.transfers) == (None, [])
        await book.write({"newborn": [100]})  # its transfer comes before its first balance
        shown = await viewer.until_at("newborn", 1)
        assert shown.balance is None
        await book.write({"newborn": [None]})
        await viewer.until_at("newborn", 2)
        assert_shows(shown, book.page("newborn"))


async def test_joining_while_money_moves(gateway: Running, book: Book) -> None:
    """Every joiner gets a snapshot of some moment, and from there every delta."""
    await book.open("busy")
    done = asyncio.Event()

    async def pay() -> None:
        while not done.is_set():
            await book.move("busy", 1)

    async with asyncio.TaskGroup() as group:
        group.create_task(pay())
        for _ in range(20):
            async with Viewer(gateway.ws) as viewer:
                await viewer.follow("busy")
                await viewer.until(lambda: len(viewer.of_type("delta")) >= 3)
        done.set()
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("busy")
        await viewer.until_at("busy", book.page("busy").revision)


async def test_many_accounts_on_one_socket(gateway: Running, book: Book) -> None:
    accounts = [f"a-{number}" for number in range(128)]
    await book.open(*accounts)
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow(*accounts)
        await viewer.until(lambda: len(viewer.shown) == 128)
        await book.write({account: [number] for number, account in enumerate(accounts)})
        for account in accounts:
            assert_shows(await viewer.until_at(account, 2), book.page(account))
        assert await viewer.follow("one-too-many")
        await viewer.until(lambda: viewer.of_type("error"))
        error = viewer.of_type("error")[0]
        assert (error["code"], error["temporary"]) == ("limit", False)
        await viewer.follow("a-0")  # again is not more
        await viewer.until(lambda: len(viewer.of_type("snapshot")) == 129)


async def test_after_unsubscribe_nothing_comes(gateway: Running, book: Book) -> None:
    await book.open("left", "kept")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("left", "kept")
        await viewer.until(lambda: len(viewer.shown) == 2)
        asked = await viewer.ask("unsubscribe", channels=["account:left"])
        await viewer.until(lambda: {"type": "ok", "id": asked} in viewer.frames)
        await book.write({"left": [1], "kept": [1]})
        await viewer.until_at("kept", 2)
        assert viewer.revision("left") == 1
        await viewer.follow("left")  # Redis is asked anew
        await viewer.until_at("left", 2)
        await book.move("left", 5)
        await viewer.until_at("left", 4)


async def test_an_erased_account_is_gone(gateway: Running, book: Book) -> None:
    await book.open("erased")
    await book.move("erased", 5)
    async with Viewer(gateway.ws) as viewer, Viewer(gateway.ws) as late:
        await viewer.follow("erased")
        at = (await viewer.until_at("erased", 3)).position
        await book.erase("erased")
        await viewer.until(lambda: viewer.of_type("unsubscribed"))
        assert viewer.of_type("unsubscribed")[0]["code"] == "gone"
        await late.follow("erased", at=at)
        await late.until(lambda: late.of_type("unsubscribed"))
        await viewer.follow("erased")
        shown = await viewer.until_at("erased", 4)
        assert (shown.transfers, shown.balance) == ([], None)


async def test_a_heartbeat_says_how_complete_it_is(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(heartbeat_interval_seconds=0.2, audit_interval_seconds=0.1)
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.until(lambda: viewer.of_type("heartbeat"))
        assert viewer.of_type("heartbeat")[0]["as_of"] is None  # nothing is followed
        await viewer.follow("alice")
        await viewer.until(lambda: viewer.of_type("heartbeat")[-1]["as_of"])
        before = viewer.of_type("heartbeat")[-1]["as_of"]
        await book.advance()
        await viewer.until(lambda: viewer.of_type("heartbeat")[-1]["as_of"] > before)


async def test_two_gateways_serve_the_same(start_gateway: StartGateway, book: Book) -> None:
    one, two = await start_gateway(name="gateway-1"), await start_gateway(name="gateway-2")
    await book.open("alice")
    async with Viewer(one.ws) as first, Viewer(two.ws) as second:
        await first.follow("alice")
        await second.follow("alice")
        await first.until_at("alice", 1)
        await second.until_at("alice", 1)
        await book.move("alice", 3, 4)
        assert_shows(await first.until_at("alice", 5), book.page("alice"))
        assert_shows(await second.until_at("alice", 5), book.page("alice"))
