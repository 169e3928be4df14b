"""The EventSource of a browser reads events with the page's cookie, and resumes by itself."""

import asyncio
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.tokens import token

_SUBSCRIBE = """() => {
  window.frames_ = []; window.opens = 0; window.ends = [];
  const events = new EventSource("/api/v1/events?account=alice&account=bob");
  events.onopen = () => window.opens++;
  events.onmessage = (message) => window.frames_.push(JSON.parse(message.data));
  events.addEventListener("close", (message) => window.ends.push(JSON.parse(message.data)));
}"""


async def until(page: Page, condition: str) -> None:
    """Waits until `condition` is true. The page's security policy forbids `wait_for_function`."""
    async with asyncio.timeout(30):
        while not await page.evaluate(f"() => {condition}"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_event_source_of_a_browser_reads_and_resumes(
    start_gateway: StartGateway, projector: FakeProjector, tmp_path: Path, chromium: str
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    first = await start_gateway(page_directory=tmp_path)
    await projector.open("alice", "bob")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await browser.new_context()
        await context.add_cookies([{"name": "livebalance", "value": token(), "url": first.http}])
        page = await context.new_page()
        await page.goto(first.http)
        await page.evaluate(_SUBSCRIBE)
        await until(page, "frames_.filter((frame) => frame.type === 'snapshot').length === 2")
        await projector.transfer("alice", 1)
        await until(page, "frames_.some((frame) => frame.type === 'delta')")
        await first.stop()
        await projector.transfer("alice", 2)
        await start_gateway(page_directory=tmp_path, http_port=first.settings.http_port)
        await until(page, "opens > 1 && frames_.some((frame) => frame.to === 5)")
        frames: list[dict[str, Any]] = await page.evaluate("() => frames_")
        ends: list[dict[str, Any]] = await page.evaluate("() => ends")
        await browser.close()
    assert ends[0]["code"] == 4000
    assert all(end["code"] == 4013 for end in ends[1:])  # reconnected while no gateway was ready
    data = [frame for frame in frames if frame["type"] in ("snapshot", "delta")]
    assert [frame["type"] for frame in data] == ["snapshot", "snapshot", "delta", "delta"]
    assert [(frame["from"], frame["to"]) for frame in data[2:]] == [(1, 3), (3, 5)]
