"""One word for how the pipeline is: on change, and after the welcome."""

import pytest

from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.viewer import Viewer


def word(viewer: Viewer) -> str | None:
    said = viewer.of_type("status")
    return said[-1]["state"] if said else None


async def test_live_catching_up_and_stalled(
    start_gateway: StartGateway, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book.advance()
    gateway = await start_gateway(audit_interval_seconds=0.1)
    async with Viewer(gateway.ws) as viewer:
        await viewer.until(lambda: word(viewer) == "stalled")  # what is there is of long ago
        await book.advance()
        await viewer.until(lambda: word(viewer) == "live")
        await book.progress(1, behind=True)
        await viewer.until(lambda: word(viewer) == "catching_up")
        await book.progress(1, behind=False)
        await viewer.until(lambda: word(viewer) == "live")
        await book.execute("update lane set halted_why = 'the topic was made anew' where lane = 2")
        await viewer.until(lambda: word(viewer) == "stalled")
        assert viewer.of_type("status")[-1]["reason"] == "the topic was made anew"
        await book.execute("update lane set halted_why = null")
        await viewer.until(lambda: word(viewer) == "live")
        monkeypatch.setattr("livebalance.gateway.live.status.STALLED_AFTER", 0.5)
        await viewer.until(lambda: word(viewer) == "stalled")
        assert viewer.of_type("status")[-1]["reason"] == "nothing arrives"
