"""REST beside the socket: lists, the snapshot of an account, and transfers of any age."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Path, Query, Response
from msgspec import json

from livebalance.gateway.answer import snapshot
from livebalance.gateway.cursor import older_than, transfer_of
from livebalance.gateway.guard import Guard
from livebalance.gateway.problem import ProblemError
from livebalance.gateway.rights import Rights
from livebalance.readmodel import reads
from livebalance.readmodel.reads import Asked
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Revision, TransferId

ID = r"^[A-Za-z0-9._-]{1,64}$"
PREFIX = r"^[A-Za-z0-9._-]{0,64}$"
DEADLINE = 3.0  # seconds, for a connection and the statement
AT_ONCE = 3  # statements; others wait within their deadline

Limit = Annotated[int, Query(ge=1, le=500)]


def routes(pool: "asyncpg.Pool[asyncpg.Record]", guard: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1")
    turns = asyncio.Semaphore(AT_ONCE)
    Who = Annotated[Rights, Depends(guard.rights)]  # noqa: N806 - a type

    async def named(account: Annotated[str, Path(pattern=ID)], who: Who) -> AccountId:
        """The account of a request that may have it."""
        guard.check(who, AccountId(account))
        return AccountId(account)

    Account = Annotated[AccountId, Depends(named)]  # noqa: N806 - a type

    async def ask(question: Any) -> Any:
        async with asyncio.timeout(DEADLINE), turns:
            return await question

    @router.get("/accounts")
    async def accounts(
        who: Who,
        prefix: Annotated[str, Query(pattern=PREFIX)] = "",
        cursor: Annotated[str, Query(pattern=PREFIX)] = "",
        limit: Limit = 50,
    ) -> Response:
        """Those that may be seen. `next`, the cursor of the next page, is null on the last."""
        ids, prefixes = who.scope.within(prefix)
        found = await ask(reads.listed(pool, ids, prefixes, cursor, limit + 1))
        shown = [one for one in found[:limit] if guard.may_see(who, one.account)]
        return _json({"accounts": shown, "next": found[limit - 1].account if len(found) > limit else None})

    @router.get("/accounts/{account}")
    async def account(account: Account) -> Response:
        """The fields of a snapshot of the socket; revision 0 for an account that does not exist yet."""
        asked = Asked(account, None)
        found = await ask(reads.accounts(pool, [asked], 0, 1))
        return _json(snapshot(asked, found[0]))

    @router.get("/accounts/{account}/transfers")
    async def transfers(
        account: Account,
        cursor: Annotated[str | None, Query(max_length=256)] = None,
        after_revision: Annotated[int | None, Query(ge=0, le=MAX_REVISION)] = None,
        limit: Limit = 50,
    ) -> Response:
        """Newest first, older than `cursor`; or oldest first, after `after_revision`: what `next` is for."""
        if after_revision is not None:
            if cursor is not None:
                raise ProblemError(
                    HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", "cursor or after_revision, not both"
                )
            found = await ask(reads.newer(pool, account, Revision(after_revision), limit + 1))
            return _page("transfers", found, limit, lambda last: str(last.revision))
        before = None if cursor is None else _before(cursor, account)
        found = await ask(reads.older(pool, account, before, limit + 1))
        if before and not found and not await ask(reads.transfer(pool, account, before)):
            raise ProblemError(HTTPStatus.GONE, "cursor_gone", "the transfer it names is not there any more")
        return _page("transfers", found, limit, lambda last: older_than(account, last.id))

    @router.get("/accounts/{account}/transfers/{transfer}")
    async def transfer(account: Account, transfer: Annotated[str, Path(pattern=ID)]) -> Response:
        found = await ask(reads.transfer(pool, account, TransferId(transfer)))
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "not_found", "no such transfer")
        return _json(found)

    return router


def _before(cursor: str, account: AccountId) -> TransferId:
    try:
        return transfer_of(cursor, account)
    except DecodeError as cause:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "bad_cursor", "not a cursor of this list"
        ) from cause


def _page(name: str, found: list[Any], limit: int, cursor: Any) -> Response:
    """`found` holds one more than the page when there is another."""
    page = found[:limit]
    return _json({name: page, "next": cursor(page[-1]) if len(found) > limit else None})


def _json(body: Any) -> Response:
    return Response(json.encode(body), media_type="application/json", headers={"cache-control": "no-store"})
