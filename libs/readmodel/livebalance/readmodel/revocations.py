"""Revocations of tokens: an operator writes them, every gateway reads them (decision 12).

A transaction may commit long after it inserted its revocation. So a reader keeps the snapshot of its last
read, and then reads the rows of all transactions that this snapshot did not see (decision 29).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from livebalance.readmodel.gateway_reads import Connection, Row, UnavailableError
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis

RETENTION = timedelta(days=30)  # the maximum lifetime of a token
PAGE_ROWS = 1000


class Revocation(NamedTuple):
    """Applies to tokens that match all fields that are not None."""

    subject: str | None
    login: str | None  # session of the issuer
    account: AccountId | None
    at: Millis  # of the insertion, by Postgres' clock


class Mark(NamedTuple):
    """Which transactions a read has seen. Transaction ids of another server or timeline mean nothing."""

    server: str
    snapshot: str  # a pg_snapshot


class Cursor(NamedTuple):
    """The last revocation of a page."""

    at: datetime | None
    id: int


FIRST = Cursor(None, 0)


class RevocationPage(NamedTuple):
    """Revocations that a statement has read, and what the statement has seen."""

    mark: Mark
    revocations: list[Revocation]
    next: Cursor | None = None  # None: the last page


_COLUMNS = "subject, login, account_id, (extract(epoch from at) * 1000)::int8 as ms"
# A standby shows commits late, and its snapshots do not name all open transactions.
_NOW = """
with now as materialized (
  select system_identifier || '/' || timeline as server, timeline = 'standby' as standby,
         pg_current_snapshot() as snapshot
    from server_identity)
select n.server, n.standby, n.snapshot::text as snapshot, r.* from now n left join lateral"""
_READ_PAGE = f"""{_NOW} (
  select id, at, {_COLUMNS} from revocation
   where (at, id) > (coalesce($1, now() - $2::interval), $3) order by at, id limit $4) r on true
 order by r.at, r.id
"""
# A row of a later transaction than any of this server was restored from a dump: `read_page` reads it.
_READ_NEW = f"""{_NOW} (
  select 0 as id, {_COLUMNS} from revocation
   where n.server = $1 and xid >= pg_snapshot_xmin($2::text::pg_snapshot)
     and xid < pg_snapshot_xmax(n.snapshot) and not pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
   limit $3) r on true
"""
_WRITE = """
insert into revocation (subject, login, account_id, why) values ($1, $2, $3, $4)
returning subject, login, account_id, (extract(epoch from at) * 1000)::int8 as ms
"""


async def read_page(
    connection: Connection, after: Cursor = FIRST, within: timedelta = RETENTION
) -> RevocationPage:
    """Returns a page of all revocations of the last `within`, oldest first.

    The mark of the first page stands for all pages, because later pages are read after it.

    Raises:
        UnavailableError: The server is a standby.
    """
    rows = await connection.fetch(_READ_PAGE, after.at, within, after.id, PAGE_ROWS)
    page = _page(rows)
    if len(page.revocations) < PAGE_ROWS:
        return page
    return page._replace(next=Cursor(rows[-1]["at"], rows[-1]["id"]))


async def read_new(connection: Connection, mark: Mark) -> RevocationPage | None:
    """Returns the revocations that the read with this mark has not seen, whenever they were inserted.

    None: they are too many for a page, or the server is another one; the caller reads all pages instead.

    Raises:
        UnavailableError: The server is a standby.
    """
    page = _page(await connection.fetch(_READ_NEW, *mark, PAGE_ROWS))
    return page if page.mark.server == mark.server and len(page.revocations) < PAGE_ROWS else None


async def revoke(
    connection: Connection, subject: str | None, login: str | None, account: AccountId | None, why: str
) -> Revocation:
    """Writes a revocation and returns it, with the time of Postgres.

    Raises:
        asyncpg.CheckViolationError: Subject, login and account are all None.
    """
    return _revocation((await connection.fetch(_WRITE, subject, login, account, why))[0])


def _page(rows: Sequence[Row]) -> RevocationPage:
    first = rows[0]
    if first["standby"]:
        raise UnavailableError("the server is a standby")
    revocations = [_revocation(row) for row in rows if row["id"] is not None]
    return RevocationPage(Mark(first["server"], first["snapshot"]), revocations)


def _revocation(row: Row) -> Revocation:
    return Revocation(row["subject"], row["login"], row["account_id"], row["ms"])
