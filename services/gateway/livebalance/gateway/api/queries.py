"""Queries of the REST API: few at once, in turns of the users, and within a deadline.

A query may wait for a revision.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import asyncpg

from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.limits.fair_queue import FairQueue, User
from livebalance.gateway.telemetry import metrics
from livebalance.readmodel import account_pages
from livebalance.readmodel.errors import TRANSIENT
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Revision

MAX_WAITERS = 1024  # requests of all users; the limit of requests at once keeps those of one user few
WAIT_SECONDS = 1.5  # how long a request waits for a revision
POLL_SECONDS = 0.05  # between two reads of revisions, while requests wait

ReadRevisions = Callable[[Collection[AccountId]], Awaitable[Mapping[AccountId, Revision]]]


class _Waiter(NamedTuple):
    account: AccountId
    revision: Revision
    reached: asyncio.Future[None]


class RevisionWaiter:
    """Waits until accounts reach a revision. All waiting requests share a single query per poll."""

    def __init__(self, read_revisions: ReadRevisions) -> None:
        """`read_revisions` leaves out accounts that do not exist. All waiting requests get its errors."""
        self._read_revisions = read_revisions
        self._waiters: set[_Waiter] = set()
        self._poller: asyncio.Task[None] | None = None

    async def wait_for(self, account: AccountId, revision: Revision) -> bool:
        """Returns whether the account has reached the revision within `WAIT_SECONDS`.

        Returns False at once if `MAX_WAITERS` requests are waiting already.
        """
        if len(self._waiters) >= MAX_WAITERS:
            return False
        waiter = _Waiter(account, revision, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiter.reached
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    async def _poll(self) -> None:
        while self._waiters:
            try:
                revisions = await self._read_revisions({waiter.account for waiter in self._waiters})
            except TRANSIENT as error:
                for waiter in self._pending():
                    waiter.reached.set_exception(error)
                return
            for waiter in self._pending():
                if revisions.get(waiter.account, INITIAL_REVISION) >= waiter.revision:
                    waiter.reached.set_result(None)
            await asyncio.sleep(POLL_SECONDS)

    def _pending(self) -> list[_Waiter]:
        return [waiter for waiter in self._waiters if not waiter.reached.done()]


QUERY_SECONDS = 3.0  # for a turn, a connection and the statement together
MAX_QUERIES = 3  # at once; the others wait for their turn
MAX_QUERIES_PER_USER = 1  # at once, so that the others find a connection and a processor that are free
MAX_WAITING = 1000  # queries of all users; a request has at most one
_GATEWAY = User("")  # no subject is empty

T = TypeVar("T")


class QueueFullError(TimeoutError):
    """Raised for a query that was dropped because too many queries wait."""


class Queries:
    """Runs the queries of REST requests."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._queue = FairQueue[asyncio.Future[None]](MAX_QUERIES, MAX_QUERIES_PER_USER, MAX_WAITING)
        self._revision_waiter = RevisionWaiter(self._revisions)

    async def run(self, user: User, query: Callable[[], Awaitable[T]]) -> T:
        """Returns the result of `query`, which is not started if its turn does not come in time.

        Raises:
            TimeoutError: The result did not arrive within `QUERY_SECONDS`, or too many queries wait.
        """
        async with asyncio.timeout(QUERY_SECONDS), self._turn(user):
            return await query()

    @asynccontextmanager
    async def _turn(self, user: User) -> AsyncIterator[None]:
        turn = asyncio.get_running_loop().create_future()
        dropped = self._queue.add(user, turn)
        if dropped and not dropped.done():
            dropped.set_exception(QueueFullError())
        self._start_turns()
        try:
            await turn
            yield
        finally:
            if turn.cancelled():
                self._queue.discard(user, turn)
            elif turn.exception() is None:
                self._queue.finish(user)
            self._start_turns()

    def _start_turns(self) -> None:
        while next_ := self._queue.start():
            user, turn = next_
            if turn.cancelled():  # its deadline has passed in this step of the event loop
                self._queue.finish(user)
            else:
                turn.set_result(None)
        metrics.WAITING_QUERIES.set(self._queue.waiting)

    async def run_at_revision(
        self,
        user: User,
        account: AccountId,
        min_revision: int,
        query: Callable[[], Awaitable[T]],
        revision_of: Callable[[T], Revision],
    ) -> T:
        """Returns the result of `query` once the account has reached `min_revision`.

        `revision_of` returns the account's revision in a result. A request that waits for the revision has no
        turn and no connection meanwhile.

        Raises:
            ProblemError: The account did not reach the revision in time.
            TimeoutError: The result did not arrive within `QUERY_SECONDS`.
        """
        result = await self.run(user, query)
        if revision_of(result) < min_revision and await self._revision_waiter.wait_for(
            account, Revision(min_revision)
        ):
            result = await self.run(user, query)
        if revision_of(result) < min_revision:
            detail = "The account did not reach this revision in time; retry later."
            raise ProblemError(HTTPStatus.CONFLICT, "not_yet", detail, {"retry-after": "1"})
        return result

    async def _revisions(self, accounts: Collection[AccountId]) -> dict[AccountId, Revision]:
        return await self.run(_GATEWAY, lambda: account_pages.read_revisions(self._pool, list(accounts)))
