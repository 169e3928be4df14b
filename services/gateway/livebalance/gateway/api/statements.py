"""A statement on its way: page by page, so that one of years costs others no more than its next page.

Its edges are read first. Between them nothing changes any more, unless the account is erased or the epoch
ends: then, and when Postgres is away, the answer is cut off, and its client sees that it is not whole.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Literal

import asyncpg
from fastapi import APIRouter, Depends, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import Send

from livebalance.gateway.api import openapi
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.openapi import TIME
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.queries import Queries
from livebalance.gateway.api.statement_format import CsvStatement, JsonStatement, StatementWriter
from livebalance.gateway.auth.rights import Rights
from livebalance.readmodel import gateway_reads, statements
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.gateway_reads import AccountPage
from livebalance.readmodel.statements import Edges
from livebalance.runtime import logs
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Revision
from livebalance.wire.timestamp import Millis, of_rfc3339
from livebalance.wire.views import TransferView

WITHIN = 60.0  # seconds, for all of it: who reads more slowly asks for less

PAGE = 500  # transfers read at once

Since = Annotated[str | None, Query(alias="from", pattern=TIME)]
Until = Annotated[str | None, Query(alias="to", pattern=TIME)]
Form = Annotated[Literal["json", "csv"], Query(alias="format")]

_log = logs.get("http")


class StatementAbortedError(Exception):
    """What is left cannot be told."""


async def between(
    edges: Edges, read: Callable[[Revision], Awaitable[AccountPage]], may: Callable[[], bool]
) -> AsyncIterator[list[TransferView]]:
    """The transfers of a statement; `read` gives those after a revision, `may` if they may still be seen."""
    at = edges.opening.revision
    while at < edges.closing.revision:
        found = await read(at)
        page = [one for one in found.transfers if one.revision <= edges.closing.revision]
        if not may() or found.at.epoch != edges.at.epoch or not page:
            raise StatementAbortedError
        yield page
        at = page[-1].revision


async def _told(text: StatementWriter, pages: AsyncIterator[list[TransferView]]) -> AsyncIterator[bytes]:
    yield text.head()
    async for page in pages:
        yield text.lines(page)
    yield text.end()


class StatementResponse(StreamingResponse):
    def __init__(
        self, text: StatementWriter, pages: AsyncIterator[list[TransferView]], headers: dict[str, str]
    ) -> None:
        super().__init__(_told(text, pages), headers=headers, media_type=text.media_type)

    async def stream_response(self, send: Send) -> None:
        """One that is cut off has no end: the connection is closed on it."""
        try:
            async with asyncio.timeout(WITHIN):
                await super().stream_response(send)
        except (*TRANSIENT, StatementAbortedError) as cause:
            _log.warning("statement cut off", why=type(cause).__name__)


def serve(
    router: APIRouter,
    pool: "asyncpg.Pool[asyncpg.Record]",
    truth: Queries,
    guard: RequestAuth,
    named: Callable[..., Awaitable[AccountId]],
) -> None:
    """Adds the route. `named` depends on the request: the account, which it may have."""
    reading: set[str] = set()  # subjects, each of whom has a statement on its way
    Who = Annotated[Rights, Depends(guard.rights)]  # noqa: N806 - a type
    Account = Annotated[AccountId, Depends(named)]  # noqa: N806 - a type

    async def alone(who: Who) -> AsyncIterator[None]:
        """One at a time, until it has been sent."""
        if who.subject in reading:
            words = "another statement of yours is being read"
            again = {"retry-after": "1"}
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "one_at_a_time", words, again)
        reading.add(who.subject)
        try:
            yield
        finally:
            reading.discard(who.subject)

    @router.get("/accounts/{account}/statement", dependencies=[Depends(alone)], **openapi.statement())
    async def statement(
        account: Account,
        who: Who,
        since: Since = None,
        until: Until = None,
        form: Form = "json",
    ) -> Response:
        """All that happened from a time up to, and without, another, by Kafka's times; oldest first."""
        period = _period(since, until)
        edges = await truth.ask(lambda: statements.edges(pool, account, *period))

        def read(after: Revision) -> Awaitable[AccountPage]:
            return truth.ask(lambda: gateway_reads.newer(pool, account, after, PAGE))

        pages = between(edges, read, lambda: guard.may_see(who, account))
        headers = {"cache-control": "no-store"}
        if form == "json":
            return StatementResponse(JsonStatement(account, edges), pages, headers)
        headers["content-disposition"] = f'attachment; filename="{account}.csv"'
        return StatementResponse(CsvStatement(edges), pages, headers)


def _period(since: str | None, until: str | None) -> tuple[Millis | None, Millis | None]:
    try:
        first, last = [None if time is None else of_rfc3339(time) for time in (since, until)]
    except DecodeError as cause:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", "no such time") from cause
    if first is not None and last is not None and last < first:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", "from is after to")
    return first, last
