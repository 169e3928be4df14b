"""Postgres as REST asks it: few statements at once, within a deadline, and again until it is far enough."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from typing import TypeVar

import asyncpg

from livebalance.gateway.lounge import Lounge
from livebalance.gateway.problem import ProblemError
from livebalance.readmodel import reads
from livebalance.wire.identity import AccountId, Revision

DEADLINE = 3.0  # seconds, for a connection and the statement
AT_ONCE = 3  # statements; others wait within their deadline

T = TypeVar("T")


class Truth:
    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._lounge = Lounge(self._revisions)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Not asked at all if its turn does not come in time."""
        async with asyncio.timeout(DEADLINE), self._turns:
            return await question()

    async def at_least(
        self,
        account: AccountId,
        revision: int,
        question: Callable[[], Awaitable[T]],
        at: Callable[[T], Revision],
    ) -> T:
        """What is answered once the account is at that revision; `at` tells where an answer is.

        Raises ProblemError unless it comes there within seconds.
        """
        found = await self.ask(question)
        if at(found) < revision and await self._lounge.until(account, Revision(revision)):
            found = await self.ask(question)
        if at(found) < revision:
            words = "this revision was not reached in time"
            raise ProblemError(HTTPStatus.CONFLICT, "not_yet", words, {"retry-after": "1"})
        return found

    async def _revisions(self, accounts: Collection[AccountId]) -> dict[AccountId, Revision]:
        return await self.ask(lambda: reads.revisions(self._pool, list(accounts)))
