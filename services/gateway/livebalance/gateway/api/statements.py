"""Streams account statements page by page.

However long a statement is, the gateway holds at most a page of it in memory, and no connection to Postgres
between two pages. The edges (opening and closing) are read first. The transfers between them do not change,
unless the account is erased or the epoch ends. In these cases, if the rights of the request end, and if
Postgres is unavailable, the response is aborted, so that the client sees that it is incomplete.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Literal, NamedTuple

import asyncpg
from fastapi import APIRouter, Depends, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import Send

from livebalance.gateway.api import openapi
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.openapi import TIME_PATTERN
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.queries import Queries
from livebalance.gateway.api.statement_format import CsvStatement, JsonStatement, StatementWriter
from livebalance.gateway.auth.rights import Rights
from livebalance.readmodel import account_pages, statements
from livebalance.readmodel.account_pages import AccountPage
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.statements import Period, StatementEdges
from livebalance.runtime import logs
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Revision
from livebalance.wire.timestamp import parse_rfc3339
from livebalance.wire.views import TransferView

DEADLINE_SECONDS = 60.0  # for a whole statement; a client that reads too slowly requests a shorter period

PAGE_ROWS = 500  # transfers per query

_EXAMPLES = ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
Since = Annotated[str | None, Query(alias="from", pattern=TIME_PATTERN, examples=[_EXAMPLES[0]])]
Until = Annotated[str | None, Query(alias="to", pattern=TIME_PATTERN, examples=[_EXAMPLES[1]])]
Format = Annotated[Literal["json", "csv"], Query(alias="format")]

_log = logs.get("http")


class StatementAbortedError(Exception):
    """Raised if the rest of a statement cannot be sent, because the account has changed."""


async def transfer_pages(
    edges: StatementEdges, read_after: Callable[[Revision], Awaitable[AccountPage]]
) -> AsyncIterator[list[TransferView]]:
    """Yields the transfers between the edges, page by page.

    `read_after` returns the transfers after a revision.

    Raises:
        StatementAbortedError: The epoch has changed, or the account was erased.
    """
    revision = edges.opening.revision
    while revision < edges.closing.revision:
        page = await read_after(revision)
        transfers = [transfer for transfer in page.transfers if transfer.revision <= edges.closing.revision]
        if page.position.epoch != edges.position.epoch or not transfers:
            raise StatementAbortedError
        yield transfers
        revision = transfers[-1].revision


class Turn:
    """The right of a user to receive a stream of transfers. A user has one at a time."""

    def __init__(self, turns: "dict[str, Turn]", subject: str) -> None:
        self._turns, self._subject = turns, subject
        turns[subject] = self

    def end(self) -> None:
        """Lets the user receive the next stream."""
        if self._turns.get(self._subject) is self:
            del self._turns[self._subject]


async def _body(
    writer: StatementWriter, pages: AsyncIterator[list[TransferView]], turn: Turn
) -> AsyncIterator[bytes]:
    """Yields a part for each page. The head alone would be too short for a proxy that compresses.

    The turn ends before the response does: a client may request the next stream as soon as it has this one.
    """
    head = writer.head()
    async for page in pages:
        yield head + writer.transfers(page)
        head = b""
    yield head + writer.end()
    turn.end()


class StatementResponse(StreamingResponse):
    """Streams a statement within `DEADLINE_SECONDS`."""

    def __init__(
        self,
        writer: StatementWriter,
        pages: AsyncIterator[list[TransferView]],
        headers: dict[str, str],
        turn: Turn,
    ) -> None:
        super().__init__(_body(writer, pages, turn), headers=headers, media_type=writer.media_type)

    async def stream_response(self, send: Send) -> None:
        """Called by Starlette. An aborted response lacks its last chunk, so uvicorn closes the connection."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await super().stream_response(send)
        except (*TRANSIENT, StatementAbortedError, ProblemError) as error:  # ProblemError: its rights ended
            _log.warning("statement aborted", reason=type(error).__name__)


def one_at_a_time(auth: RequestAuth) -> Callable[..., AsyncIterator[Turn]]:
    """Returns a dependency that lets each user receive one stream of transfers at a time."""
    turns: dict[str, Turn] = {}  # by the users that are receiving a stream
    TokenRights = Annotated[Rights, Depends(auth.rights)]  # noqa: N806 - a type

    async def require_no_other(rights: TokenRights) -> AsyncIterator[Turn]:
        if rights.subject in turns:
            detail = "Another statement of this user is being read; retry when it is complete."
            headers = {"retry-after": "1"}
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "one_at_a_time", detail, headers)
        turn = Turn(turns, rights.subject)
        try:
            yield turn
        finally:
            turn.end()  # of a response that failed

    return require_no_other


class AccountRoutes(NamedTuple):
    """What the routes of an account's data need."""

    router: APIRouter
    pool: "asyncpg.Pool[asyncpg.Record]"
    queries: Queries
    auth: RequestAuth
    visible_account: Callable[..., Awaitable[AccountId]]  # the dependency that returns the request's account
    one_at_a_time: Callable[..., AsyncIterator[Turn]]


def add_route(routes: AccountRoutes) -> None:
    """Adds the route of statements."""
    router, pool, queries, auth, visible_account, one_at_a_time = routes
    TokenRights = Annotated[Rights, Depends(auth.rights)]  # noqa: N806 - a type
    VisibleAccount = Annotated[AccountId, Depends(visible_account)]  # noqa: N806 - a type
    OwnTurn = Annotated[Turn, Depends(one_at_a_time)]  # noqa: N806 - a type

    @router.get("/accounts/{account}/statement", **openapi.statement_responses())
    async def statement(
        *,
        account: VisibleAccount,
        rights: TokenRights,
        turn: OwnTurn,
        since: Since = None,
        until: Until = None,
        format_: Format = "json",
    ) -> Response:
        """Returns the transfers of a period with its opening and closing balance, oldest first.

        A transfer belongs to the period if Kafka recorded it at `from` or later, and before `to`.
        """
        period = period_of(since, until)
        edges = await queries.run(rights.subject, lambda: statements.read_edges(pool, account, *period))

        def read_after(revision: Revision) -> Awaitable[AccountPage]:
            return queries.run(
                rights.subject, lambda: account_pages.read_newer(pool, account, revision, PAGE_ROWS)
            )

        pages = transfer_pages(edges, read_after)
        headers = {"cache-control": "no-store"}
        if format_ == "json":
            return StatementResponse(JsonStatement(account, edges), pages, headers, turn)
        headers["content-disposition"] = f'attachment; filename="{account}.csv"'
        return StatementResponse(CsvStatement(edges), pages, headers, turn)


def period_of(since: str | None, until: str | None) -> Period:
    """Returns the period of a request.

    Raises:
        ProblemError: A time does not exist, or they are in the wrong order.
    """
    try:
        first, last = [None if time is None else parse_rfc3339(time) for time in (since, until)]
    except DecodeError as error:
        detail = "from or to is not a valid time."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", detail) from error
    if first is not None and last is not None and last < first:
        detail = "from must not be later than to."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", detail)
    return Period(first, last)
