"""The TypeScript client in a real browser keeps states over a reload, and resumes from them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, WebSocket, expect

from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.typescript.project import EXAMPLES
from tests.tokens import token

INDEX = """\
<!doctype html><title>x</title><body>
<p id="revision"></p><p id="rows"></p><p id="status"></p><button id="leave">Leave</button>
<script type="module" src="storage.js"></script>
"""
SECONDS_30 = 30_000


class Tab:
    """A page of the client, and the frames of its last connection."""

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._url = url
        self.sent: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        page.on("websocket", self._record)

    def _record(self, socket: WebSocket) -> None:
        sent: list[dict[str, Any]] = []
        received: list[dict[str, Any]] = []
        self.sent, self.received = sent, received
        socket.on("framesent", lambda text: sent.append(json.loads(text)))
        socket.on("framereceived", lambda text: received.append(json.loads(text)))

    async def open(self, user: str = "user-1", accounts: tuple[str, ...] = ("*",)) -> None:
        session = {"user": user, "token": token(accounts)}
        await self._page.route("**/session.json", lambda route: route.fulfill(json=session))
        await self._page.goto(self._url)

    async def close(self) -> None:
        """Closes the client, which writes all states."""
        await self._page.locator("#leave").click()
        await self.shows("status", "closed")

    async def shows(self, element: str, text: str) -> None:
        await expect(self._page.locator(f"#{element}")).to_have_text(text, timeout=SECONDS_30)

    async def stored(self) -> list[str]:
        """Returns the accounts in the browser's database."""
        keys: list[str] = await self._page.evaluate(
            """() => new Promise((resolve) => {
              indexedDB.open('livebalance').onsuccess = ({ target: { result } }) => {
                const keys = result.transaction('states').objectStore('states').getAllKeys();
                keys.onsuccess = () => { result.close(); resolve(keys.result.map((key) => key.join('/'))); };
              };
            })"""
        )
        return keys

    @property
    def positions(self) -> list[int | None]:
        """The revisions from which the page has subscribed."""
        requests = (frame["channels"] for frame in self.sent if frame["type"] == "subscribe")
        return [request.get("position", {}).get("revision") for channels in requests for request in channels]

    @property
    def data(self) -> list[tuple[str, int, int]]:
        """The type of each snapshot and delta, with its revisions."""
        frames = (frame for frame in self.received if frame["type"] in ("snapshot", "delta"))
        return [
            (frame["type"], frame.get("from", 0), frame["to"] if "to" in frame else frame["revision"])
            for frame in frames
        ]


@pytest.fixture
async def gateway(empty_project: Path, start_gateway: StartGateway) -> RunningGateway:
    shutil.copy(EXAMPLES / "plain" / "storage.js", empty_project)
    (empty_project / "index.html").write_text(INDEX)
    return await start_gateway(page_directory=empty_project, recovery_max_revisions=100)


@pytest.fixture
async def tab(browser: Browser, gateway: RunningGateway) -> Tab:
    return Tab(await browser.new_page(), gateway.http)


async def test_page_that_comes_back_receives_only_what_it_missed(tab: Tab, projector: FakeProjector) -> None:
    await projector.open("acc-0001")
    await projector.transfer("acc-0001", 1, 2, 3)
    await tab.open()
    await tab.shows("revision", "7")
    assert (tab.positions, tab.data) == ([None], [("snapshot", 0, 7)])
    await tab.close()
    await projector.transfer("acc-0001", 4)
    await tab.open()
    await tab.shows("revision", "9")
    await tab.shows("rows", "t-3 t-2 t-1 t-0")
    assert (tab.positions, tab.data) == ([7], [("delta", 7, 9)])


async def test_page_that_missed_nothing_receives_no_data(tab: Tab, projector: FakeProjector) -> None:
    await projector.open("acc-0001")
    await projector.transfer("acc-0001", 1)
    await tab.open()
    await tab.shows("revision", "3")
    await tab.close()
    await tab.open()
    await tab.shows("revision", "3")
    await projector.transfer("acc-0001", 2)
    await tab.shows("revision", "5")
    assert (tab.positions, tab.data) == ([3], [("delta", 3, 5)])


async def test_page_that_missed_too_much_reads_the_gap(tab: Tab, projector: FakeProjector) -> None:
    """The snapshot names the gap, and the page reads it over REST below its newest rows."""
    await projector.open("acc-0001")
    await projector.transfer("acc-0001", 1)
    await tab.open()
    await tab.shows("revision", "3")
    await tab.close()
    await projector.transfer("acc-0001", *range(2, 102))
    await tab.open()
    await tab.shows("rows", " ".join(f"t-{number}" for number in reversed(range(101))))
    assert (tab.positions, tab.data) == ([3], [("snapshot", 0, 203)])


async def test_state_of_another_user_is_deleted_and_not_shown(tab: Tab, projector: FakeProjector) -> None:
    await projector.open("acc-0001")
    await tab.open("user-1")
    await tab.shows("revision", "1")
    await tab.close()
    await tab.open("user-2")
    await tab.shows("revision", "1")
    assert tab.positions == [None]
    await tab.close()
    await tab.open("user-2")
    await tab.shows("revision", "1")
    assert await tab.stored() == ["user-2/acc-0001"]


async def test_state_is_deleted_if_the_user_may_not_see_the_account(
    tab: Tab, projector: FakeProjector
) -> None:
    await projector.open("acc-0001")
    await tab.open()
    await tab.shows("revision", "1")
    await tab.close()
    await tab.open(accounts=("bob",))
    await tab.shows("status", "no_access")
    await tab.shows("revision", "")
    await tab.close()
    await tab.open(accounts=("bob",))
    await tab.shows("status", "no_access")
    assert (tab.positions, await tab.stored()) == ([None], [])


async def test_kept_state_of_a_lost_epoch_is_replaced(tab: Tab, projector: FakeProjector) -> None:
    await projector.open("acc-0001")
    await tab.open()
    await tab.shows("revision", "1")
    await tab.close()
    await projector.change_epoch("00000000000000b2")
    await tab.open()
    await projector.transfer("acc-0001", 5)
    await tab.shows("revision", "3")
    assert (tab.positions, tab.data[0][0]) == ([1], "snapshot")
