"""REST routes: lists of accounts, an account's snapshot, its transfers and statements."""

import re
from collections.abc import Awaitable, Iterable
from http import HTTPStatus
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Header, Path, Query, Response
from msgspec import Struct
from pydantic import WithJsonSchema

from livebalance.gateway.api import openapi, search, statements
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.openapi import (
    CURSOR_PATTERN,
    EXAMPLE_ACCOUNT,
    EXAMPLE_TRANSFER,
    ID_PATTERN,
    PREFIX_PATTERN,
)
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.queries import Queries
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.live.recovery import snapshot
from livebalance.readmodel import account_pages, gateway_reads
from livebalance.readmodel.account_pages import AccountPage
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.frame import Snapshot
from livebalance.wire.identity import MAX_REVISION, AccountId, Position, Revision, TransferId
from livebalance.wire.timestamp import format_rfc3339
from livebalance.wire.views import AccountsView, TransferDetailView, TransfersView

Limit = Annotated[int, Query(ge=1, le=500)]
MinRevision = Annotated[int, Query(ge=0, le=MAX_REVISION)]
# Several header lines form a list (RFC 9110 §5.3). Any text is valid: what is no ETag matches nothing.
IfNoneMatch = Annotated[list[str] | None, WithJsonSchema({"type": "string"}), Header(alias="If-None-Match")]
_ETAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def routes(pool: "asyncpg.Pool[asyncpg.Record]", auth: RequestAuth) -> APIRouter:
    """Returns the routes of accounts. The docstrings of routes are part of the OpenAPI document."""
    router = APIRouter(prefix="/api/v1", tags=["accounts"])
    queries = Queries(pool)
    TokenRights = Annotated[Rights, Depends(auth.rights)]  # noqa: N806 - a type

    async def visible_account(
        account: Annotated[str, Path(pattern=ID_PATTERN, examples=[EXAMPLE_ACCOUNT])], rights: TokenRights
    ) -> AccountId:
        auth.require_access(rights, AccountId(account))
        return AccountId(account)

    VisibleAccount = Annotated[AccountId, Depends(visible_account)]  # noqa: N806 - a type

    @router.get("/accounts", **openapi.json_responses(AccountsView))
    async def accounts(
        rights: TokenRights,
        prefix: Annotated[str, Query(pattern=PREFIX_PATTERN)] = "",
        cursor: Annotated[str, Query(pattern=PREFIX_PATTERN)] = "",
        limit: Limit = 50,
    ) -> Response:
        """Returns the accounts that the token may see. `next` is the next page's cursor, or null."""
        ids, prefixes = rights.scope.narrow(prefix)
        hidden = auth.hidden_accounts(rights)
        page = await queries.run(
            rights.subject,
            lambda: account_pages.list_accounts(pool, ids, prefixes, cursor, limit + 1, hidden=hidden),
        )
        # Rights may have been revoked since `hidden` was read. `next` may not name such an account, either.
        visible = [account for account in page.accounts[:limit] if auth.may_see(rights, account.account)]
        last = visible[-1].account if visible else cursor
        following = last if len(page.accounts) > limit else None
        as_of = None if page.as_of is None else format_rfc3339(page.as_of)
        return openapi.json_response(AccountsView(visible, following, as_of))

    @router.get("/accounts/{account}", **openapi.json_responses(Snapshot, 403, 409, with_etag=True))
    async def account(
        account: VisibleAccount,
        rights: TokenRights,
        if_none_match: IfNoneMatch = None,
        min_revision: MinRevision = 0,
    ) -> Response:
        """Returns the same fields as a snapshot frame. An account that does not exist yet has revision 0."""
        query = AccountQuery(account, None)

        async def read() -> AccountState:
            return (await gateway_reads.read_accounts(pool, [query], 0, 1))[0]

        state = await queries.run_at_revision(
            rights.subject, account, min_revision, read, lambda state: state.revision
        )
        tag = weak_etag(etag(Position(state.epoch, state.revision)))
        return _etag_response(tag, if_none_match, snapshot(query, state))

    @router.get("/accounts/{account}/transfers", **openapi.json_responses(TransfersView, 403, 409, 410))
    async def transfers(
        *,
        account: VisibleAccount,
        rights: TokenRights,
        cursor: Annotated[str | None, Query(pattern=CURSOR_PATTERN)] = None,
        after_revision: Annotated[int | None, Query(ge=0, le=MAX_REVISION)] = None,
        min_revision: MinRevision = 0,
        limit: Limit = 50,
    ) -> Response:
        """Returns a page of transfers. `next` is the next page's `cursor` or `after_revision`.

        With `after_revision`: the transfers after that revision, oldest first. Otherwise: the transfers older
        than `cursor`, newest first.
        """
        if after_revision is not None and cursor is not None:
            detail = "Send cursor or after_revision, not both."
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", detail)
        before = search.decode(cursor, account)

        def read() -> Awaitable[AccountPage]:
            if after_revision is not None:
                return account_pages.read_newer(pool, account, Revision(after_revision), limit + 1)
            return account_pages.read_older(pool, account, before, limit + 1)

        page = await queries.run_at_revision(
            rights.subject, account, min_revision, read, lambda page: page.position.revision
        )
        if before and not page.transfers:
            await search.require_cursor(queries, pool, rights, account, before)
        return openapi.json_response(
            _transfers_view(account, page, limit, oldest_first=after_revision is not None)
        )

    @router.get(
        "/accounts/{account}/transfers/{transfer}",
        **openapi.json_responses(TransferDetailView, 403, with_etag=True),
    )
    async def transfer(
        account: VisibleAccount,
        rights: TokenRights,
        transfer: Annotated[str, Path(pattern=ID_PATTERN, examples=[EXAMPLE_TRANSFER])],
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Returns a transfer."""
        position, view = await queries.run(
            rights.subject, lambda: account_pages.read_transfer(pool, account, TransferId(transfer))
        )
        if view is None:
            detail = "This account has no such transfer."
            raise ProblemError(HTTPStatus.NOT_FOUND, "not_found", detail)
        return _etag_response(etag(Position(position.epoch, view.revision)), if_none_match, view)

    one_at_a_time = statements.one_at_a_time(auth)
    routes = statements.AccountRoutes(router, pool, queries, auth, visible_account, one_at_a_time)
    statements.add_route(routes)
    search.add_routes(routes)
    return router


def _transfers_view(account: AccountId, page: AccountPage, limit: int, oldest_first: bool) -> TransfersView:
    """Returns the first `limit` transfers of `page`, which has an extra transfer if there is a next page."""
    transfers, next_ = page.transfers[:limit], None
    if len(page.transfers) > limit:
        last = transfers[-1]
        next_ = str(last.revision) if oldest_first else encode_cursor(account, last.id)
    return TransfersView(page.position.epoch, page.position.revision, transfers, next_)


def _etag_response(tag: str, if_none_match: list[str] | None, body: Struct) -> Response:
    if matches(if_none_match or (), tag):
        return Response(
            status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag, "cache-control": "no-store"}
        )
    return openapi.json_response(body, tag)


def etag(position: Position) -> str:
    """Returns the ETag of data at this position."""
    return f'"{position.epoch}:{position.revision}"'


def weak_etag(tag: str) -> str:
    """Returns a weak ETag: an account's `as_of` may differ at the same position (RFC 9110 §8.8.1)."""
    return f"W/{tag}"


def matches(if_none_match: Iterable[str], tag: str) -> bool:
    """Returns whether If-None-Match contains the ETag, by weak comparison (RFC 9110 §13.1.2).

    `if_none_match` has the value of each header line.
    """
    value = ",".join(if_none_match)
    opaque_tag = tag.removeprefix("W/")
    return value.strip() == "*" or opaque_tag in _ETAG.findall(value)
