"""Writes random transfers between accounts, for demos and tests: `python -m livebalance.feed`."""

import argparse
import asyncio
import json
import math
import sys
import time
from functools import partial

from livebalance.feed.feed import Feed, FeedOptions
from livebalance.feed.settings import FeedSettings
from livebalance.generator.pace import UNLIMITED
from livebalance.runtime.process import health
from livebalance.runtime.process.run import CommandLine, main


def _accounts(text: str) -> int:
    if (count := int(text)) < 2:
        raise argparse.ArgumentTypeError("a transfer needs at least 2 accounts")
    return count


def _rate(text: str) -> float:
    if text == "max":
        return UNLIMITED
    if not 0 < (rate := float(text)) < math.inf:
        raise argparse.ArgumentTypeError("a number above 0, or max")
    return rate


def arguments() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = CommandLine(FeedSettings)
    parser.add_argument("--accounts", type=_accounts, default=8, help="number of accounts (8)")
    parser.add_argument("--rate", type=_rate, default=5.0, help="transfers per second (5), or max")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same transfers (1)")
    parser.add_argument("--limit", type=int, help="transfers after which the feed ends; each is two records")
    parser.add_argument("--no-transactions", action="store_true", help="write without Kafka transactions")
    parser.add_argument("--tokens-only", action="store_true", help="issue demo tokens, write no records")
    parser.add_argument("--json", action="store_true", help="print the summary at the end as JSON")
    return parser


async def serve(options: argparse.Namespace, settings: FeedSettings, stopping: asyncio.Event) -> None:
    """Runs the service until `stopping` is set or the limit of transfers is reached."""
    limit = UNLIMITED if options.limit is None else options.limit
    transactional = not options.no_transactions
    feed_options = FeedOptions(options.accounts, options.rate, options.seed, limit, transactional)
    feed = Feed(settings, feed_options)
    began = time.monotonic()
    post_handlers: dict[str, health.PostHandler] = {}
    if secret := settings.demo_secret:
        # What signs tokens is slow to import.
        from livebalance.feed.token_endpoint import PATH, TokenEndpoint  # noqa: PLC0415

        post_handlers[PATH] = TokenEndpoint(secret.get_secret_value()).post
    address = settings.http_host, settings.http_port
    async with health.run_server(address, stopping, lambda: None, lambda: None, post_handlers):
        await (stopping.wait() if options.tokens_only else feed.run(stopping))
    sys.stdout.write(summary(feed, time.monotonic() - began, options.json) + "\n")


def summary(feed: Feed, seconds: float, as_json: bool) -> str:
    """Returns one line. `records` counts acknowledged transfer records, two per transfer."""
    values = {
        "run": feed.run_name,
        "transfers": feed.transfers,
        "records": 2 * feed.transfers,
        "opened": feed.opened,
        "seconds": round(seconds, 3),
    }
    if as_json:
        return json.dumps(values)
    text = "fed {transfers} transfers ({records} records) in {seconds} s; opened {opened} accounts"
    return text.format(**values)


if __name__ == "__main__":
    main(FeedSettings, partial(serve, arguments().parse_args()), has_own_arguments=True)
