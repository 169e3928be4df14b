"""Postgres as REST asks it: few statements at once, within a deadline, and again until it is far enough."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import asyncpg

from livebalance.gateway.api.problems import ProblemError
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.errors import TRANSIENT
from livebalance.wire.identity import ZERO, AccountId, Revision

MAX_WAITERS = 64
WAIT_SECONDS = 1.5  # seconds
POLL_SECONDS = 0.05  # seconds between two statements, while somebody waits

Look = Callable[[Collection[AccountId]], Awaitable[Mapping[AccountId, Revision]]]


class _Waiter(NamedTuple):
    account: AccountId
    revision: Revision
    came: asyncio.Future[None]


class RevisionWaiter:
    def __init__(self, look: Look) -> None:
        """`look` tells the revisions of accounts that are there; what it raises, all who wait are told."""
        self._look = look
        self._guests: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None

    async def until(self, account: AccountId, revision: Revision) -> bool:
        """Whether the account came to that revision in time."""
        if len(self._guests) >= MAX_WAITERS:
            return False
        guest = _Waiter(account, revision, asyncio.get_running_loop().create_future())
        self._guests.add(guest)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
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
            except TRANSIENT as reason:
                for guest in self._waiting():
                    guest.came.set_exception(reason)
                return
            for guest in self._waiting():
                if found.get(guest.account, ZERO) >= guest.revision:
                    guest.came.set_result(None)
            await asyncio.sleep(POLL_SECONDS)

    def _waiting(self) -> list[_Waiter]:
        return [guest for guest in self._guests if not guest.came.done()]


QUERY_SECONDS = 3.0  # seconds, for a connection and the statement
MAX_QUERIES = 3  # statements; others wait within their deadline

T = TypeVar("T")


class Queries:
    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(MAX_QUERIES)
        self._lounge = RevisionWaiter(self._revisions)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Not asked at all if its turn does not come in time."""
        async with asyncio.timeout(QUERY_SECONDS), self._turns:
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
        return await self.ask(lambda: gateway_reads.revisions(self._pool, list(accounts)))
