"""A tab of a Chromium, driven over its DevTools protocol and by nothing else.

Playwright has the browser report each WebSocket message to it. At thousands of messages a second, that costs
more than the page does.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--force-prefers-reduced-motion",
    "--window-size=1280,900",
    "--remote-debugging-port=0",
]
TIMEOUT = 60.0  # seconds


class BrowserTab:
    """A tab. Commands wait for their answer for `TIMEOUT`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count(1)

    async def send(self, method: str, **parameters: Any) -> Any:
        """Sends a command, and returns its result. Raises RuntimeError if the browser refuses it."""
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(TIMEOUT):
            while (answer := json.loads(await self._connection.recv())).get("id") != number:
                pass  # an event
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def evaluate(self, script: str) -> Any:
        """Returns the value of a script. Raises RuntimeError if it throws."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, replMode=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def wait_until(self, condition: str, seconds: float) -> None:
        """Waits until a script is true, for at most `seconds`."""
        async with asyncio.timeout(seconds):
            while not await self.evaluate(condition):  # noqa: ASYNC110 - the page sends no event
                await asyncio.sleep(0.2)

    async def press(self, letter: str) -> None:
        """Presses and releases the key of a letter."""
        key = {"key": letter, "text": letter, "code": f"Key{letter.upper()}"}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **key)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=letter, code=key["code"])


@asynccontextmanager
async def opened_tab(chromium: str, url: str) -> AsyncIterator[BrowserTab]:
    """Starts a Chromium with a tab that shows `url`. The Chromium ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = await asyncio.create_subprocess_exec(
            chromium, *FLAGS, f"--user-data-dir={profile}", url, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            address = await _tab_address(Path(profile, "DevToolsActivePort"))
            async with connect(address, max_size=None, ping_interval=None) as connection:
                yield BrowserTab(connection)
        finally:
            browser.terminate()
            await browser.wait()


async def _tab_address(port_file: Path) -> str:
    """Returns the address of the first tab, once the browser has written its port to a file."""
    async with asyncio.timeout(TIMEOUT), httpx.AsyncClient() as http:
        while True:
            await asyncio.sleep(0.1)
            text = await asyncio.to_thread(lambda: port_file.read_text() if port_file.exists() else "")
            if not text:
                continue
            targets = (await http.get(f"http://127.0.0.1:{text.split()[0]}/json/list")).json()
            pages = [target for target in targets if target["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
