"""python -m livebalance.feed: random transfers between accounts, for demonstrations and proofs."""

import argparse
import asyncio
import json
import math
import sys
import time
from functools import partial

from livebalance.feed.feed import Feed, FeedOptions
from livebalance.feed.settings import FeedSettings
from livebalance.feed.token_endpoint import PATH, TokenEndpoint
from livebalance.generator.pace import UNLIMITED
from livebalance.runtime.process import health
from livebalance.runtime.process.run import main


def _accounts(text: str) -> int:
    if (count := int(text)) < 2:
        raise argparse.ArgumentTypeError("money moves between two accounts at least")
    return count


def _rate(text: str) -> float:
    if text == "max":
        return UNLIMITED
    if not 0 < (rate := float(text)) < math.inf:
        raise argparse.ArgumentTypeError("a number above 0, or max")
    return rate


def arguments() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    parser = argparse.ArgumentParser("livebalance.feed", description=__doc__)
    parser.add_argument("--accounts", type=_accounts, default=8, help="how many accounts (8)")
    parser.add_argument("--rate", type=_rate, default=5.0, help="transfers a second (5), or max")
    parser.add_argument("--seed", type=int, default=1, help="the same transfers for the same seed (1)")
    parser.add_argument("--limit", type=int, help="stop after so many transfers; each is two records")
    parser.add_argument("--plain", action="store_true", help="without Kafka transactions")
    parser.add_argument("--desk", action="store_true", help="write nothing: only give tokens of the demo")
    parser.add_argument("--json", action="store_true", help="say at the end in JSON what was fed")
    return parser


async def serve(chosen: argparse.Namespace, settings: FeedSettings, stopping: asyncio.Event) -> None:
    """The whole service: until `stopping` is set, or the limit."""
    limit = UNLIMITED if chosen.limit is None else chosen.limit
    feed = Feed(settings, FeedOptions(chosen.accounts, chosen.rate, chosen.seed, limit, chosen.plain))
    began = time.monotonic()
    posts = (
        {PATH: TokenEndpoint(settings.demo_secret.get_secret_value()).post} if settings.demo_secret else {}
    )
    at = settings.http_host, settings.http_port
    async with health.serving(at, stopping, lambda: None, lambda: None, posts):
        await (stopping.wait() if chosen.desk else feed.until(stopping))
    sys.stdout.write(summary(feed, time.monotonic() - began, chosen.json) + "\n")


def summary(feed: Feed, seconds: float, as_json: bool) -> str:
    """One line; `records` are the transfer records acknowledged, two of each transfer."""
    fed = {
        "run": feed.run,
        "transfers": feed.transfers,
        "records": 2 * feed.transfers,
        "opened": feed.opened,
        "seconds": round(seconds, 3),
    }
    if as_json:
        return json.dumps(fed)
    return "fed {transfers} transfers ({records} records) in {seconds} s; opened {opened} accounts".format(
        **fed
    )


if __name__ == "__main__":
    main(FeedSettings, partial(serve, arguments().parse_args()))
