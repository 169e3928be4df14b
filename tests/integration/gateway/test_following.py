"""From subscribe to live deltas, on real servers."""

from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running
from tests.integration.gateway.viewer import Viewer


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
        await book.move("alice", 5)
        await book.write({"alice": [7]})
        shown = await viewer.until_at("alice", 8)
        assert viewer.of_type("delta")[0]["from"] == 5
        assert [one["amount"] for one in shown.transfers] == ["12.50", "-3.00", "0.05", "0.07"]
        assert shown.balance is not None
        assert (shown.balance["amount"], shown.balance["half_applied"]) == ("9.55", "0.07")
