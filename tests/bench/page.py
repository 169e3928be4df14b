"""Frames per second and typing delay of the page while hundreds of watched accounts change.

`python -m tests.bench.page [--page account] [--accounts 500] [--rate 500] [--seconds 10] [--profile FILE]`

Real servers and a real Chromium without a GPU, all on this machine. The servers share one core, as a user's
browser does not run beside them; the browser may use all cores. The overview watches every account; the page
of an account shows one of the accounts, so that `--accounts 2` gives it half of all changes.

Frames are counted by requestAnimationFrame. While they are counted, a key is pressed in the search field
ten times a second. The delay lasts until the frame with the letter is presented, as Event Timing measures
it. It reports no delay below 16 ms, so that such a delay counts as 16. Updates are revisions that Postgres
has received: a transfer and its balance are two. Each repetition is printed, then the median and the range
of all.
"""

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import asyncpg
import psutil

from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from tests.bench.browser_tab import BrowserTab, opened_tab

KEY_INTERVAL = 0.1  # seconds
PAGE_TIMEOUT = 120.0  # seconds
SHORTEST_DELAY = 16.0  # ms
LIVE = {
    "overview": "document.querySelectorAll('[data-watched][data-state=live]').length",
    "account": "document.querySelectorAll('.state[data-state=live]').length",
}
START = """
  frames = []; delays = new Map(); counting = true;
  document.querySelector('#account-input').focus();
  observer = new PerformanceObserver(list => {
    for (const {name, startTime, duration} of list.getEntries())
      if (name === 'keydown') delays.set(startTime, duration);
  });
  observer.observe({type: 'event', durationThreshold: 16});
  requestAnimationFrame(function onFrame(time) {
    frames.push(time);
    if (counting) requestAnimationFrame(onFrame);
  });
"""
STOP = "counting = false; observer.disconnect(); ({frames, delays: [...delays.values()]})"


class Measurement(NamedTuple):
    updates_per_second: float
    frames_per_second: float
    longest_frame: float  # ms
    typing_median: float  # ms
    typing_longest: float  # ms
    renderer_cpu: float  # per cent of a core; other load of the machine does not count


async def count_revisions(database: "asyncpg.Connection[Any]") -> int:
    return int(await database.fetchval("select sum(revision) from balance"))


def renderer_seconds() -> float:
    """Returns the CPU seconds of the browser's renderers, which run the page's code and layout."""
    seconds = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            if "--type=renderer" in child.cmdline():
                seconds += sum(child.cpu_times()[:2])
    return seconds


async def measure(tab: BrowserTab, database: "asyncpg.Connection[Any]", seconds: float) -> Measurement:
    """Returns what the page did in `seconds`, while a user types."""
    renderer_before = renderer_seconds()
    before, started = await count_revisions(database), time.monotonic()
    await tab.evaluate(START)
    keys = 0
    while time.monotonic() - started < seconds:
        await tab.press("a")
        keys += 1
        await asyncio.sleep(KEY_INTERVAL)
    result = await tab.evaluate(STOP)
    elapsed = time.monotonic() - started
    updates = (await count_revisions(database) - before) / elapsed
    cpu = 100 * (renderer_seconds() - renderer_before) / elapsed
    await tab.evaluate("document.querySelector('#account-input').value = ''")
    frames = result["frames"]
    delays = result["delays"] + [SHORTEST_DELAY] * (keys - len(result["delays"]))
    intervals = [later - earlier for earlier, later in pairwise(frames)]
    per_second = 1000 * len(intervals) / (frames[-1] - frames[0])
    return Measurement(updates, per_second, max(intervals), median(delays), max(delays), cpu)


async def write_profile(tab: BrowserTab, file: Path, seconds: float) -> None:
    """Writes a CPU profile, which the developer tools of a Chromium can open."""
    await tab.send("Profiler.enable")
    await tab.send("Profiler.start")
    await asyncio.sleep(seconds)
    profile = (await tab.send("Profiler.stop"))["profile"]
    await asyncio.to_thread(file.write_text, json.dumps(profile))


@asynccontextmanager
async def running_cluster(options: argparse.Namespace) -> AsyncIterator[Cluster]:
    """Starts the servers on one core, which they inherit from this process."""
    home = StatePaths.from_environment().home
    plan = ClusterPlan(
        accounts=options.accounts, rate=options.rate, seed=1, gateways=1, port=free_port(), durable=False
    )
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    with tempfile.TemporaryDirectory() as state:
        async with Cluster(StatePaths(home, Path(state)), plan) as cluster:
            os.sched_setaffinity(0, cores)
            yield cluster


async def run(options: argparse.Namespace, chromium: str) -> None:
    accounts = [account_id(number) for number in range(1, options.accounts + 1)]
    watched = accounts if options.page == "overview" else accounts[:1]
    path = f"/#watch={','.join(watched)}" if options.page == "overview" else f"/accounts/{watched[0]}"
    async with running_cluster(options) as cluster:
        database = await asyncpg.connect(cluster.postgres())
        async with opened_tab(chromium, cluster.page + path) as tab:
            await tab.wait_until(f"{LIVE[options.page]} >= {len(watched)}", PAGE_TIMEOUT)
            measurements = []
            for _ in range(options.repetitions):
                measurements.append(await measure(tab, database, options.seconds))
                print(" ".join(f"{value:9.1f}" for value in measurements[-1]), flush=True)
            if options.profile is not None:
                await write_profile(tab, options.profile, options.seconds)
        await database.close()
    for name, values in zip(Measurement._fields, zip(*measurements, strict=True), strict=True):
        print(f"{name:20} median {median(values):8.1f}, from {min(values):.1f} to {max(values):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", choices=LIVE, default="overview")
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--rate", type=float, default=500, help="transfers per second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--profile", type=Path)
    chromium = os.environ.get("LIVEBALANCE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        parser.error("a Chromium is required")
    asyncio.run(run(parser.parse_args(), chromium))


if __name__ == "__main__":
    main()
