"""REST beside the socket: lists, the snapshot of an account, and transfers of any age."""

import re
from collections.abc import Awaitable, Iterable
from http import HTTPStatus
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Header, Path, Query, Response
from msgspec import Struct, json
from pydantic import WithJsonSchema

from livebalance.gateway.api import openapi, statements
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.openapi import ACCOUNT, CURSOR, ID, PREFIX, TRANSFER
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.queries import Queries
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.live.recovery import snapshot
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.gateway_reads import AccountPage, AccountQuery, AccountState
from livebalance.wire.cursor import decode_cursor, encode_cursor
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import Snapshot
from livebalance.wire.identity import MAX_REVISION, AccountId, Position, Revision, TransferId
from livebalance.wire.views import AccountsView, TransfersView, TransferView

Limit = Annotated[int, Query(ge=1, le=500)]
AtLeast = Annotated[int, Query(ge=0, le=MAX_REVISION)]
# However many lines it has: one text, of which any may stand there, and what is no tag matches nothing.
Tags = Annotated[list[str] | None, WithJsonSchema({"type": "string"}), Header(alias="If-None-Match")]
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def routes(pool: "asyncpg.Pool[asyncpg.Record]", guard: RequestAuth) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["accounts"])
    truth = Queries(pool)
    Who = Annotated[Rights, Depends(guard.rights)]  # noqa: N806 - a type

    async def named(account: Annotated[str, Path(pattern=ID, examples=[ACCOUNT])], who: Who) -> AccountId:
        """The account of a request that may have it."""
        guard.check(who, AccountId(account))
        return AccountId(account)

    Account = Annotated[AccountId, Depends(named)]  # noqa: N806 - a type

    @router.get("/accounts", **openapi.answers(AccountsView))
    async def accounts(
        who: Who,
        prefix: Annotated[str, Query(pattern=PREFIX)] = "",
        cursor: Annotated[str, Query(pattern=PREFIX)] = "",
        limit: Limit = 50,
    ) -> Response:
        """Those that may be seen. `next`, the cursor of the next page, is null on the last."""
        ids, prefixes = who.scope.within(prefix)
        found = await truth.ask(lambda: gateway_reads.listed(pool, ids, prefixes, cursor, limit + 1))
        shown = [one for one in found[:limit] if guard.may_see(who, one.account)]
        return _json(AccountsView(shown, found[limit - 1].account if len(found) > limit else None))

    @router.get("/accounts/{account}", **openapi.answers(Snapshot, 403, 409, tagged=True))
    async def account(account: Account, if_none_match: Tags = None, min_revision: AtLeast = 0) -> Response:
        """The fields of a snapshot of the socket; revision 0 for an account that does not exist yet."""
        asked = AccountQuery(account, None)

        async def read() -> AccountState:
            return (await gateway_reads.accounts(pool, [asked], 0, 1))[0]

        found = await truth.at_least(account, min_revision, read, lambda one: one.revision)
        tag = weak(etag(Position(found.epoch, found.revision)))
        return _tagged(tag, if_none_match, snapshot(asked, found))

    @router.get("/accounts/{account}/transfers", **openapi.answers(TransfersView, 403, 409, 410))
    async def transfers(
        account: Account,
        cursor: Annotated[str | None, Query(pattern=CURSOR)] = None,
        after_revision: Annotated[int | None, Query(ge=0, le=MAX_REVISION)] = None,
        min_revision: AtLeast = 0,
        limit: Limit = 50,
    ) -> Response:
        """Newest first, older than `cursor`; or oldest first, after `after_revision`: what `next` is for."""
        if after_revision is not None and cursor is not None:
            words = "cursor or after_revision, not both"
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", words)
        before = None if cursor is None else _before(cursor, account)

        def read() -> Awaitable[AccountPage]:
            if after_revision is not None:
                return gateway_reads.newer(pool, account, Revision(after_revision), limit + 1)
            return gateway_reads.older(pool, account, before, limit + 1)

        found = await truth.at_least(account, min_revision, read, lambda one: one.at.revision)
        if before and not found.transfers:
            here = await truth.ask(lambda: gateway_reads.transfer(pool, account, before))
            if not here.transfers:
                words = "the transfer it names is not there any more"
                raise ProblemError(HTTPStatus.GONE, "cursor_gone", words)
        return _json(_page(account, found, limit, in_order=after_revision is not None))

    @router.get("/accounts/{account}/transfers/{transfer}", **openapi.answers(TransferView, 403, tagged=True))
    async def transfer(
        account: Account,
        transfer: Annotated[str, Path(pattern=ID, examples=[TRANSFER])],
        if_none_match: Tags = None,
    ) -> Response:
        found = await truth.ask(lambda: gateway_reads.transfer(pool, account, TransferId(transfer)))
        if not found.transfers:
            raise ProblemError(HTTPStatus.NOT_FOUND, "not_found", "no such transfer")
        one = found.transfers[0]
        return _tagged(etag(Position(found.at.epoch, one.revision)), if_none_match, one)

    statements.serve(router, pool, truth, guard, named)
    return router


def _before(cursor: str, account: AccountId) -> TransferId:
    try:
        return decode_cursor(cursor, account)
    except DecodeError as cause:
        words = "not a cursor of this list"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_cursor", words) from cause


def _page(account: AccountId, found: AccountPage, limit: int, in_order: bool) -> TransfersView:
    """`found` holds one more than the page when there is another."""
    page, next_ = found.transfers[:limit], None
    if len(found.transfers) > limit:
        next_ = str(page[-1].revision) if in_order else encode_cursor(account, page[-1].id)
    return TransfersView(found.at.epoch, found.at.revision, page, next_)


def _tagged(tag: str, if_none_match: list[str] | None, body: Struct) -> Response:
    if has(if_none_match or (), tag):
        return Response(
            status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag, "cache-control": "no-store"}
        )
    return _json(body, tag)


def _json(body: Struct, tag: str | None = None) -> Response:
    headers = {"cache-control": "no-store", **({"etag": tag} if tag else {})}
    return Response(json.encode(body), media_type="application/json", headers=headers)


def etag(at: Position) -> str:
    return f'"{at.epoch}:{at.revision}"'


def weak(tag: str) -> str:
    """Of what may be told otherwise at the same position: an account also tells how fresh it is."""
    return f"W/{tag}"


def has(if_none_match: Iterable[str], tag: str) -> bool:
    """Whether a client says that it has what is tagged so: If-None-Match, by weak comparison (13.1.2)."""
    told = ",".join(if_none_match)
    bare = tag.removeprefix("W/")
    return told.strip() == "*" or any(one == bare for one in _TAG.findall(told))
