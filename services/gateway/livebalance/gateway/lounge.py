"""Where requests wait for a revision: few of them, for a short time, with one statement for all.

Nobody waits for a seat: who finds none is told to come back, like who waited in vain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple

from livebalance.gateway.away import AWAY
from livebalance.wire.identity import ZERO, AccountId, Revision

SEATS = 64
WITHIN = 1.5  # seconds
EVERY = 0.05  # seconds between two statements, while somebody waits

Look = Callable[[Collection[AccountId]], Awaitable[Mapping[AccountId, Revision]]]


class _Guest(NamedTuple):
    account: AccountId
    revision: Revision
    came: asyncio.Future[None]


class Lounge:
    def __init__(self, look: Look) -> None:
        """`look` tells the revisions of accounts that are there; what it raises, all who wait are told."""
        self._look = look
        self._guests: set[_Guest] = set()
        self._looking: asyncio.Task[None] | None = None

    async def until(self, account: AccountId, revision: Revision) -> bool:
        """Whether the account came to that revision in time."""
        if len(self._guests) >= SEATS:
            return False
        guest = _Guest(account, revision, asyncio.get_running_loop().create_future())
        self._guests.add(guest)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(WITHIN):
                await guest.came
        except TimeoutError:
            return False
        finally:
            self._guests.discard(guest)
        return True

    async def _watch(self) -> None:
        while self._guests:
            try:
                found = await self._look({guest.account for guest in self._guests})
            except AWAY as reason:
                for guest in self._waiting():
                    guest.came.set_exception(reason)
                return
            for guest in self._waiting():
                if found.get(guest.account, ZERO) >= guest.revision:
                    guest.came.set_result(None)
            await asyncio.sleep(EVERY)

    def _waiting(self) -> list[_Guest]:
        return [guest for guest in self._guests if not guest.came.done()]
