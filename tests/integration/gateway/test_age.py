"""A gateway with a bound on how old connections become."""

import json

from livebalance.client.event import Connected
from livebalance.wire.frame import Goaway, Snapshot
from tests.integration.gateway.book import Book, paying
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.listener import Listener
from tests.integration.gateway.viewer import Viewer
from tests.integration.gateway.watcher import Watcher

AGE = 1.0


async def test_the_old_come_back_and_miss_nothing(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(max_connection_age_seconds=AGE)
    await book.open("alice")
    async with Watcher([gateway.ws], ["alice"]) as watcher:
        async with paying(book, ["alice"], pause=0.02):
            await watcher.until(lambda: len(watcher.of(Connected)) == 3, within=30)
        await watcher.until_current(book)
        assert {frame.reason for frame in watcher.of(Goaway)} == {"age"}
        assert len([one for one in watcher.frames if isinstance(one, Snapshot)]) == 1
        watcher.assert_exact(book)


async def test_who_stays_is_closed(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(max_connection_age_seconds=AGE)
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer, Listener(gateway.http, "alice") as listener:
        code, reason = await viewer.until_closed()
        assert code == 4000
        assert viewer.of_type("goaway")[0]["reason"] == "age"
        told = json.loads(reason)
        assert (told["code"], 500 <= told["retry_after_ms"] <= 1000) == ("age", True)
        end = await listener.until_end()
        assert (end.code, end.word) == (4000, "age")
        assert listener.retry == end.retry_after_ms
