"""Renews docs/page: a picture of each state of the page, on desktop and phone, in light and dark.

`python -m scripts.page_pictures [STATE …]` starts a demo of its own and brings about each state for real, or
only those that it is given. It needs a Chromium.
"""

import asyncio
import base64
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Browser, ViewportSize, async_playwright

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import PROJECT, StatePaths, free_port
from tests.acceptance.page.states import STATES, Screen, Stage, plan, wait_until_shown

PICTURES = PROJECT / "docs" / "page"
_DESKTOP, _PHONE = ViewportSize(width=940, height=560), ViewportSize(width=360, height=560)
_SCREENS = tuple(
    Screen(f"{name}-{scheme}", size, scheme)
    for scheme in ("light", "dark")
    for name, size in (("desktop", _DESKTOP), ("phone", _PHONE))
)
_SCALE = 0.5
_STYLE = f"""<style>
  body {{ margin: 0; display: grid; grid-template-columns: max-content max-content; gap: 8px; padding: 8px;
          align-content: start; background: #888; width: max-content; height: max-content }}
  img {{ display: block; zoom: {_SCALE} }}
</style>"""


async def take_picture(stage: Stage, name: str) -> bytes:
    """Brings about a state, and returns a PNG of all its screens side by side."""
    bring, shown = STATES[name]
    async with bring(stage) as pages:
        for page in pages:
            await wait_until_shown(page, shown)
        screens = [await page.tab.screenshot() for page in pages]
    return await _compose(stage.browser, screens)


async def _compose(browser: Browser, screens: Sequence[bytes]) -> bytes:
    images = (f'<img src="data:image/png;base64,{base64.b64encode(screen).decode()}">' for screen in screens)
    tab = await browser.new_page()
    try:
        await tab.set_content(_STYLE + "".join(images))
        return await tab.locator("body").screenshot()
    finally:
        await tab.close()


async def main(names: Sequence[str]) -> None:
    """Writes the pictures of these states."""
    chromium = os.environ.get("LIVEBALANCE_CHROMIUM") or shutil.which("chromium")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        paths = StatePaths(StatePaths.from_environment().home, Path(directory))
        async with Cluster(paths, plan(free_port())) as cluster, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name in names:
                picture = await take_picture(Stage(cluster, browser, _SCREENS), name)
                (PICTURES / f"{name}.png").write_bytes(picture)
                sys.stdout.write(f"{name}: {len(picture):,} bytes\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(STATES)))
