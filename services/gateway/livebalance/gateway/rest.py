"""REST beside the socket: lists, the snapshot of an account, and transfers of any age."""

import asyncio
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Path, Query, Response
from msgspec import json

from livebalance.gateway.answer import snapshot
from livebalance.gateway.cursor import older_than, transfer_of
from livebalance.gateway.problem import ProblemError
from livebalance.readmodel import reads
from livebalance.readmodel.reads import Asked
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Revision, TransferId

ID = r"^[A-Za-z0-9._-]{1,64}$"
PREFIX = r"^[A-Za-z0-9._-]{0,64}$"
DEADLINE = 3.0  # seconds, for a connection and the statement
AT_ONCE = 3  # statements; others wait within their deadline

Account = Annotated[str, Path(pattern=ID)]
Limit = Annotated[int, Query(ge=1, le=500)]


def routes(pool: "asyncpg.Pool[asyncpg.Record]") -> APIRouter:
    router = APIRouter(prefix="/api/v1")
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(question: Any) -> Any:
        async with asyncio.timeout(DEADLINE), turns:
            return await question

    @router.get("/accounts")
    async def accounts(
        prefix: Annotated[str, Query(pattern=PREFIX)] = "",
        cursor: Annotated[str, Query(pattern=PREFIX)] = "",
        limit: Limit = 50,
    ) -> Response:
        """`next`, the cursor of the next page, is null on the last."""
        found = await ask(reads.listed(pool, prefix, cursor, limit + 1))
        return _page("accounts", found, limit, lambda last: last.account)

    @router.get("/accounts/{account}")
    async def account(account: Account) -> Response:
        """The fields of a snapshot of the socket; revision 0 for an account that does not exist yet."""
        asked = Asked(AccountId(account), None)
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
        id_ = AccountId(account)
        if after_revision is not None:
            if cursor is not None:
                raise ProblemError(422, "bad_parameter", "cursor or after_revision, not both")
            found = await ask(reads.newer(pool, id_, Revision(after_revision), limit + 1))
            return _page("transfers", found, limit, lambda last: str(last.revision))
        before = None if cursor is None else _before(cursor, id_)
        found = await ask(reads.older(pool, id_, before, limit + 1))
        if before and not found and not await ask(reads.transfer(pool, id_, before)):
            raise ProblemError(410, "cursor_gone", "the transfer it names is not there any more")
        return _page("transfers", found, limit, lambda last: older_than(id_, last.id))

    @router.get("/accounts/{account}/transfers/{transfer}")
    async def transfer(account: Account, transfer: Annotated[str, Path(pattern=ID)]) -> Response:
        found = await ask(reads.transfer(pool, AccountId(account), TransferId(transfer)))
        if found is None:
            raise ProblemError(404, "not_found", "no such transfer")
        return _json(found)

    return router


def _before(cursor: str, account: AccountId) -> TransferId:
    try:
        return transfer_of(cursor, account)
    except DecodeError as cause:
        raise ProblemError(422, "bad_cursor", "not a cursor of this list") from cause


def _page(name: str, found: list[Any], limit: int, cursor: Any) -> Response:
    """`found` holds one more than the page when there is another."""
    page = found[:limit]
    return _json({name: page, "next": cursor(page[-1]) if len(found) > limit else None})


def _json(body: Any) -> Response:
    return Response(json.encode(body), media_type="application/json", headers={"cache-control": "no-store"})
