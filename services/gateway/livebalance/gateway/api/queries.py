"""Queries of the REST API: few at once, within a deadline, and optionally from a given revision on."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import asyncpg

from livebalance.gateway.api.problems import ProblemError
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.errors import TRANSIENT
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Revision

MAX_WAITERS = 64
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

T = TypeVar("T")


class Queries:
    """Runs the queries of REST requests."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(MAX_QUERIES)
        self._revision_waiter = RevisionWaiter(self._revisions)

    async def run(self, query: Callable[[], Awaitable[T]]) -> T:
        """Returns the result of `query`, which is not started if its turn does not come in time.

        Raises:
            TimeoutError: The result did not arrive within `QUERY_SECONDS`.
        """
        async with asyncio.timeout(QUERY_SECONDS), self._turns:
            return await query()

    async def run_at_revision(
        self,
        account: AccountId,
        min_revision: int,
        query: Callable[[], Awaitable[T]],
        revision_of: Callable[[T], Revision],
    ) -> T:
        """Returns the result of `query` once the account has reached `min_revision`.

        `revision_of` returns the account's revision in a result.

        Raises:
            ProblemError: The account did not reach the revision in time.
            TimeoutError: The result did not arrive within `QUERY_SECONDS`.
        """
        result = await self.run(query)
        if revision_of(result) < min_revision and await self._revision_waiter.wait_for(
            account, Revision(min_revision)
        ):
            result = await self.run(query)
        if revision_of(result) < min_revision:
            detail = "The account did not reach this revision in time; retry later."
            raise ProblemError(HTTPStatus.CONFLICT, "not_yet", detail, {"retry-after": "1"})
        return result

    async def _revisions(self, accounts: Collection[AccountId]) -> dict[AccountId, Revision]:
        return await self.run(lambda: gateway_reads.read_revisions(self._pool, list(accounts)))
