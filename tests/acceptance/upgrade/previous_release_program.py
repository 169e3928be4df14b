"""Runs a client with the code that PYTHONPATH names: `python -m … URL SECRET ACCOUNT…`.

It prints a line for each frame it received, each new revision of an account, and each other event:

    frame JSON
    revision ACCOUNT REVISION
    event CLASS

Only names that the client of the previous release has as well may be imported here.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from livebalance.client.client import Client
from livebalance.client.event import Changed
from livebalance.wire.identity import AccountId
from tests.tokens import claims, sign

FIRST_TOKEN_SECONDS = 40  # so short that the gateway warns at once, and the client sends the next token


def _tokens(secret: str) -> Callable[[], Awaitable[str]]:
    """Returns a function that returns tokens of one subject; the first expires after FIRST_TOKEN_SECONDS."""
    first = claims()
    first["exp"] = first["iat"] + FIRST_TOKEN_SECONDS
    unused = [first]

    async def next_token() -> str:
        return sign(unused.pop() if unused else claims(sub=first["sub"]), secret)

    return next_token


def report(kind: str, text: str) -> None:
    print(kind, text, flush=True)


async def run_client(url: str, secret: str, accounts: Sequence[str]) -> None:
    """Reports what the client receives until the process is killed."""
    # `heard` is the previous release's name of `on_frame`.
    options: dict[str, Any] = {"heard": lambda text: report("frame", text.decode())}
    async with Client(url, token=_tokens(secret), **options) as client:
        for account in accounts:
            client.follow(AccountId(account))
        async for event in client.events():
            if isinstance(event, Changed):
                report("revision", f"{event.account.account} {event.account.position.revision}")
            else:
                report("event", type(event).__name__)


if __name__ == "__main__":
    asyncio.run(run_client(sys.argv[1], sys.argv[2], sys.argv[3:]))
