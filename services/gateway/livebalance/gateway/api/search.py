"""Routes that search an account's transfers, as JSON or CSV, and that read a chart's points."""

from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Literal

import asyncpg
from fastapi import Depends, Query, Response

from livebalance.gateway.api import openapi
from livebalance.gateway.api.openapi import AMOUNT_PATTERN, CURSOR_PATTERN, EXAMPLE_CURSOR, ID_PATTERN
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.queries import Queries
from livebalance.gateway.api.statement_format import CsvSearch
from livebalance.gateway.api.statements import (
    PAGE_ROWS,
    AccountRoutes,
    Since,
    StatementAbortedError,
    StatementResponse,
    Turn,
    Until,
    period_of,
)
from livebalance.gateway.auth.rights import Rights
from livebalance.readmodel import account_pages, statements
from livebalance.readmodel.statements import SearchPage, TransferFilter
from livebalance.wire.cursor import decode_cursor, encode_cursor
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Epoch, TransferId
from livebalance.wire.money import parse_money
from livebalance.wire.views import ChartView, TransfersView, TransferView

Amount = Annotated[str | None, Query(pattern=AMOUNT_PATTERN)]
_SIGNS = {"in": 1, "out": -1}


def conditions_of(
    *,
    since: Since = None,
    until: Until = None,
    direction: Literal["in", "out"] | None = None,
    min_amount: Amount = None,
    max_amount: Amount = None,
    id_part: Annotated[str | None, Query(alias="id", pattern=ID_PATTERN)] = None,
) -> TransferFilter:
    """Returns what a request searches for.

    Raises:
        ProblemError: A time does not exist, or they are in the wrong order.
    """
    least, most = (None if text is None else parse_money(text) for text in (min_amount, max_amount))
    sign = None if direction is None else _SIGNS[direction]
    return TransferFilter(period_of(since, until), sign, least, most, id_part or "")


def decode(cursor: str | None, account: AccountId) -> TransferId | None:
    """Returns the transfer that a cursor names.

    Raises:
        ProblemError: The cursor is not of this list.
    """
    try:
        return None if cursor is None else decode_cursor(cursor, account)
    except DecodeError as error:
        detail = "This is not a cursor of this list; start again without a cursor."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_cursor", detail) from error


async def require_cursor(
    queries: Queries,
    pool: "asyncpg.Pool[asyncpg.Record]",
    rights: Rights,
    account: AccountId,
    cursor: TransferId,
) -> None:
    """Checks that a cursor's transfer was not erased.

    Raises:
        ProblemError: It was erased.
    """
    _, at_cursor = await queries.run(
        rights.subject, lambda: account_pages.read_transfer(pool, account, cursor)
    )
    if at_cursor is None:
        detail = "The transfer that the cursor names was erased; start again without a cursor."
        raise ProblemError(HTTPStatus.GONE, "cursor_gone", detail)


async def matching_pages(
    epoch: Epoch,
    search: Callable[[TransferId | None], Awaitable[SearchPage]],
) -> AsyncIterator[list[TransferView]]:
    """Yields the transfers that match, page by page.

    Raises:
        StatementAbortedError: The epoch has changed, or the account was erased.
    """
    before: TransferId | None = None
    while True:
        try:
            page, before = await search(before)
        except ProblemError as error:
            raise StatementAbortedError from error  # the transfer that the page begins after was erased
        if page.position.epoch != epoch:
            raise StatementAbortedError
        if page.transfers:
            yield page.transfers
        if before is None:
            return


def add_routes(routes: AccountRoutes) -> None:
    """Adds the routes."""
    router, pool, queries, auth, visible_account, one_at_a_time = routes
    TokenRights = Annotated[Rights, Depends(auth.rights)]  # noqa: N806 - a type
    VisibleAccount = Annotated[AccountId, Depends(visible_account)]  # noqa: N806 - a type
    Conditions = Annotated[TransferFilter, Depends(conditions_of)]  # noqa: N806 - a type
    OwnTurn = Annotated[Turn, Depends(one_at_a_time)]  # noqa: N806 - a type

    async def run(
        rights: Rights, account: AccountId, conditions: TransferFilter, before: TransferId | None, limit: int
    ) -> SearchPage:
        result = await queries.run(
            rights.subject,
            lambda: statements.search_transfers(pool, account, conditions, before, limit),
        )
        if before and not result.page.transfers and result.next_ is None:
            await require_cursor(queries, pool, rights, account, before)
        return result

    @router.get("/accounts/{account}/search", **openapi.json_responses(TransfersView, 403, 410))
    async def search(
        account: VisibleAccount,
        rights: TokenRights,
        conditions: Conditions,
        cursor: Annotated[str | None, Query(pattern=CURSOR_PATTERN, examples=[EXAMPLE_CURSOR])] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        """Returns a page of the transfers that match, newest first.

        Amounts are compared without their signs. `id` is a part of the id. A transfer is in the period if
        Kafka recorded it at `from` or later, and before `to`. A request searches a limited number of
        transfers: a page can be short or empty and have a `next` page.
        """
        page, next_ = await run(rights, account, conditions, decode(cursor, account), limit)
        position, transfers = page
        following = None if next_ is None else encode_cursor(account, next_)
        return openapi.json_response(TransfersView(position.epoch, position.revision, transfers, following))

    @router.get("/accounts/{account}/search.csv", **openapi.search_csv_responses())
    async def search_csv(
        account: VisibleAccount, rights: TokenRights, conditions: Conditions, turn: OwnTurn
    ) -> Response:
        """Returns all transfers that match, newest first, with the columns of a statement."""
        edges = await queries.run(
            rights.subject, lambda: statements.read_edges(pool, account, *conditions.period)
        )
        pages = matching_pages(
            edges.position.epoch,
            lambda before: run(rights, account, conditions, before, PAGE_ROWS),
        )
        headers = {
            "cache-control": "no-store",
            "content-disposition": f'attachment; filename="{account}.csv"',
        }
        return StatementResponse(CsvSearch(edges), pages, headers, turn)

    @router.get("/accounts/{account}/chart", **openapi.json_responses(ChartView, 403))
    async def chart(
        account: VisibleAccount,
        rights: TokenRights,
        since: Since = None,
        until: Until = None,
        points: Annotated[int, Query(ge=1, le=500)] = 200,
    ) -> Response:
        """Returns up to `points` + 1 transfers of a period, oldest first, at about equal distances.

        The last transfer before `from` comes first, if there is one.
        """
        period = period_of(since, until)
        view = await queries.run(rights.subject, lambda: statements.read_chart(pool, account, period, points))
        return openapi.json_response(view)
