"""Frames per second and typing delay of the page while hundreds of watched accounts change.

`python -m tests.bench.page [--accounts 500] [--rate 1000] [--seconds 10] [--profile FILE]`

Real servers and a real Chromium without a GPU, all on this machine. The page watches every account. Frames
are counted by requestAnimationFrame. While they are counted, a key is pressed in the search field every
100 ms; the delay lasts from the timestamp of the key's event to the first task after the next frame. Updates
are revisions that Postgres has received: a transfer and its balance are two. Each repetition is printed, and
then the median and the range of all.
"""

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import asyncpg
import psutil
from playwright.async_api import Page, async_playwright, expect

from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
KEY_INTERVAL = 0.1  # seconds
MEASURE = """seconds => new Promise(resolve => {
  const frames = [], delays = [];
  const onKey = ({timeStamp}) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => delays.push(performance.now() - timeStamp);
    channel.port2.postMessage(0);
  });
  addEventListener('keydown', onKey, true);
  const start = performance.now();
  const onFrame = time => {
    frames.push(time);
    if (performance.now() - start < 1000 * seconds) requestAnimationFrame(onFrame);
    else {
      removeEventListener('keydown', onKey, true);
      resolve({frames, delays});
    }
  };
  requestAnimationFrame(onFrame);
})"""


class Measurement(NamedTuple):
    updates_per_second: float
    frames_per_second: float
    longest_frame: float  # ms
    typing_median: float  # ms
    typing_longest: float  # ms
    renderer_cpu: float  # per cent of a core; other load of the machine does not count


async def count_revisions(database: asyncpg.Connection[Any]) -> int:
    return int(await database.fetchval("select sum(revision) from balance"))


def renderer_seconds() -> float:
    """Returns the CPU seconds of the browser's renderers, which run the page's code and layout."""
    renderers = [
        child for child in psutil.Process().children(recursive=True) if "--type=renderer" in child.cmdline()
    ]
    return sum(sum(renderer.cpu_times()[:2]) for renderer in renderers)


async def measure(tab: Page, database: asyncpg.Connection[Any], seconds: float) -> Measurement:
    """Returns what the page did in `seconds`, while a user types."""
    await tab.focus("#account-input")
    renderer_before = renderer_seconds()
    before, started = await count_revisions(database), time.monotonic()
    counting = asyncio.create_task(tab.evaluate(MEASURE, seconds))
    while not counting.done():
        await tab.keyboard.press("a")
        await asyncio.sleep(KEY_INTERVAL)
    result = await counting
    elapsed = time.monotonic() - started
    updates = (await count_revisions(database) - before) / elapsed
    cpu = 100 * (renderer_seconds() - renderer_before) / elapsed
    await tab.fill("#account-input", "")
    frames, delays = result["frames"], result["delays"]
    intervals = [later - earlier for earlier, later in pairwise(frames)]
    per_second = 1000 * len(intervals) / (frames[-1] - frames[0])
    return Measurement(updates, per_second, max(intervals), median(delays), max(delays), cpu)


async def write_profile(tab: Page, file: Path, seconds: float) -> None:
    """Writes a CPU profile, which the developer tools of a Chromium can open."""
    session = await tab.context.new_cdp_session(tab)
    await session.send("Profiler.enable")
    await session.send("Profiler.start")
    await asyncio.sleep(seconds)
    profile = (await session.send("Profiler.stop"))["profile"]
    await asyncio.to_thread(file.write_text, json.dumps(profile))


async def run(options: argparse.Namespace, chromium: str) -> None:
    home = StatePaths.from_environment().home
    plan = ClusterPlan(
        accounts=options.accounts, rate=options.rate, seed=1, gateways=1, port=free_port(), durable=False
    )
    watched = [account_id(number) for number in range(1, options.accounts + 1)]
    with tempfile.TemporaryDirectory() as state:
        async with Cluster(StatePaths(home, Path(state)), plan) as cluster, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            tab = await browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
            await tab.goto(f"{cluster.page}/#watch={','.join(watched)}")
            live = tab.locator("[data-watched][data-state=live]")
            await expect(live).to_have_count(len(watched), timeout=120_000)
            database = await asyncpg.connect(cluster.postgres())
            measurements = []
            for _ in range(options.repetitions):
                measurements.append(await measure(tab, database, options.seconds))
                print(" ".join(f"{value:9.1f}" for value in measurements[-1]), flush=True)
            if options.profile is not None:
                await write_profile(tab, options.profile, options.seconds)
            await database.close()
            await browser.close()
    for name, values in zip(Measurement._fields, zip(*measurements, strict=True), strict=True):
        print(f"{name:20} median {median(values):8.1f}, from {min(values):.1f} to {max(values):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--rate", type=float, default=1000, help="transfers per second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--profile", type=Path)
    chromium = os.environ.get("LIVEBALANCE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        parser.error("a Chromium is required")
    asyncio.run(run(parser.parse_args(), chromium))


if __name__ == "__main__":
    main()
