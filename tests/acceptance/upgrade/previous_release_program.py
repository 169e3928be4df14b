"""`python -m … URL SECRET ACCOUNT…`: a client of the code that PYTHONPATH names. It says what happens:

    heard FRAME
    shows ACCOUNT REVISION
    told EVENT

Nothing is imported here but what a client of any release has.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from livebalance.client.client import Client
from livebalance.client.event import Changed
from livebalance.wire.identity import AccountId
from tests.tokens import claims, sign

SECONDS = 40  # that its first token lives: it is told at once that it ends, and shows another


def _tokens(secret: str) -> Callable[[], Awaitable[str]]:
    """The first one ends soon; all are of one subject."""
    first = claims()
    first["exp"] = first["iat"] + SECONDS
    given = [first]

    async def give() -> str:
        return sign(given.pop() if given else claims(sub=first["sub"]), secret)

    return give


def say(what: str, text: str) -> None:
    print(what, text, flush=True)


async def follow(url: str, secret: str, accounts: Sequence[str]) -> None:
    """Until it is ended."""
    log = {"heard": lambda text: say("heard", text.decode())}  # the argument's name in that release
    async with Client(url, token=_tokens(secret), **log) as client:
        for account in accounts:
            client.follow(AccountId(account))
        async for event in client.events():
            if isinstance(event, Changed):
                say("shows", f"{event.account.account} {event.account.position.revision}")
            else:
                say("told", type(event).__name__)


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1], sys.argv[2], sys.argv[3:]))
