"""Statements that a gateway answers REST requests with: pages of accounts and of an account's transfers.

They obey the rules of `gateway_reads`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from livebalance.readmodel.gateway_reads import (
    ALL_LANES,
    BALANCE,
    MS,
    SEE,
    SEE_ACCOUNT,
    SEE_ACCOUNTS,
    TRANSFER,
    Connection,
    Row,
    balance_view,
    check_known,
)
from livebalance.wire.identity import (
    INITIAL_REVISION,
    AccountId,
    Epoch,
    Lane,
    Offset,
    Position,
    Revision,
    TransferId,
)
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import AccountView, TransferDetailView, TransferView, format_source

# Prefixes are passed with a star, as in a token's claim, because an empty prefix would disappear from the
# list.
_LIST = f"""
with {SEE.format("array_to_string($2::text[], ',')")},
     seen_too as materialized (
       select set_config('livebalance.prefixes', array_to_string(stars.of_all, ','), true) as prefixes
         from (select array(select prefix || '*' from unnest($3::text[]) as p (prefix))) as stars (of_all)),
     now as materialized (select epoch, partitions, known from truth),
     lanes as materialized ({ALL_LANES.format("now")})
select n.epoch, n.known, {MS.format("a.as_of")} as as_of, b.account_id, {BALANCE}
  from now n cross join lanes a cross join seen cross join seen_too left join lateral (
       (select account_id from balance
         where account_id = any(string_to_array(seen.accounts, ',')) and account_id > $1
           and account_id <> all($5::text[])
         order by account_id limit $4)
       union
       select k.account_id
         from unnest(string_to_array(seen_too.prefixes, ',') collate "C") as p (prefix) cross join lateral (
              select account_id from balance
               where account_id > $1 and account_id >= left(p.prefix, -1)
                 and account_id < left(p.prefix, -1) || '~' -- sorts after every id
                 and account_id <> all($5::text[])
               order by account_id limit $4) k
       order by account_id limit $4) l on true
  left join lateral (select * from balance where account_id = l.account_id limit 1) b on true
 order by b.account_id
"""


class AccountList(NamedTuple):
    """A page of the list of accounts. It includes everything recorded up to `as_of`; None: unknown."""

    accounts: list[AccountView]
    as_of: Millis | None


async def list_accounts(
    connection: Connection,
    ids: Sequence[AccountId],
    prefixes: Sequence[str],
    after: str,
    limit: int,
    *,
    hidden: Sequence[AccountId] = (),
) -> AccountList:
    """Returns up to `limit` accounts after the id `after`, in the order of their ids.

    Args:
        connection: A connection or pool of the role `gateway`.
        ids: Accounts that are listed if they exist.
        prefixes: Accounts whose ids begin with a prefix are listed, too. The empty prefix lists all accounts.
        after: Last id of the previous page, or empty.
        limit: Maximum number of accounts.
        hidden: Accounts that are not listed.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    rows = await connection.fetch(_LIST, after, ids, prefixes, limit, hidden)
    check_known(rows)
    accounts = [
        AccountView(AccountId(row["account_id"]), row["epoch"], Revision(row["revision"]), balance_view(row))
        for row in rows
        if row["account_id"] is not None
    ]
    return AccountList(accounts, rows[0]["as_of"])


class AccountPage(NamedTuple):
    """A page of an account's transfers, and the account's position when they were read."""

    position: Position
    transfers: list[TransferView]


_NOW = f"""
with {SEE_ACCOUNT}
select n.epoch, n.known, b.revision as at_revision, t.*
  from truth n cross join seen
  left join lateral (select revision, erased_revision from balance
                      where account_id = seen.accounts limit 1) b on true"""

# Row-level security lets only comparisons with columns use the index, not with COALESCE: hence `e`. Otherwise
# a page would read all newer transfers, too.
_OLDER = f"""
{_NOW} left join lateral (
       select coalesce(b.erased_revision, 0) as erased,
              coalesce((select revision from transfer where account_id = seen.accounts and transfer_id = $2),
                       case when $2 is null then 9223372036854775807 end) as before
       offset 0) e on true
  left join lateral (
       select {TRANSFER} from transfer
        where account_id = seen.accounts and revision > e.erased and revision < e.before
        order by revision desc limit $3) t on true
 order by t.revision desc
"""
_NEWER = f"""
{_NOW} left join lateral (
       select {TRANSFER} from transfer
        where account_id = seen.accounts and revision > greatest($2, b.erased_revision)
        order by revision limit $3) t on true
 order by t.revision
"""
_BY_ID = f"""
{_NOW} left join lateral (
       select {TRANSFER} from transfer
        where account_id = seen.accounts and transfer_id = $2
          and revision > coalesce(b.erased_revision, 0) limit 1) t on true
"""
_REVISIONS = f"""
with {SEE_ACCOUNTS}
select n.epoch, n.known, b.account_id, b.revision
  from truth n cross join seen
  left join unnest(string_to_array(seen.accounts, ',')) as w (account) on true
  left join lateral (select account_id, revision from balance where account_id = w.account limit 1) b on true
"""


async def read_older(
    connection: Connection, account: AccountId, before: TransferId | None, limit: int
) -> AccountPage:
    """Returns up to `limit` transfers that are older than the transfer `before`, newest first.

    With `before` None the page begins with the newest transfer.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    return account_page(await connection.fetch(_OLDER, account, before, limit))


async def read_newer(connection: Connection, account: AccountId, after: Revision, limit: int) -> AccountPage:
    """Returns up to `limit` transfers with a revision above `after`, oldest first.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    return account_page(await connection.fetch(_NEWER, account, after, limit))


async def read_transfer(
    connection: Connection, account: AccountId, id_: TransferId
) -> tuple[Position, TransferDetailView | None]:
    """Returns the account's position and the transfer `id_`; None: there is none.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    (row,) = rows = await connection.fetch(_BY_ID, account, id_)
    position, transfers = account_page(rows)
    if not transfers:
        return position, None
    recorded_at = format_rfc3339(row["recorded_at"])
    return position, TransferDetailView(**structs.asdict(transfers[0]), recorded_at=recorded_at)


async def read_revisions(connection: Connection, accounts: Sequence[AccountId]) -> dict[AccountId, Revision]:
    """Returns the revision of each account that exists.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    rows = await connection.fetch(_REVISIONS, accounts)
    check_known(rows)
    return {row["account_id"]: Revision(row["revision"]) for row in rows if row["account_id"] is not None}


def account_page(rows: Sequence[Row]) -> AccountPage:
    """Returns the page that a statement has read: a row for each transfer, or a row without one.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    first = check_known(rows)
    views = [
        TransferView(
            id=TransferId(row["transfer_id"]),
            amount=row["amount"],
            total=row["total"],
            occurred_at=format_rfc3339(row["occurred_at"]),
            revision=Revision(row["revision"]),
            source=format_source(row["topic"], Lane(row["lane"]), Offset(row["source_offset"])),
        )
        for row in rows
        if row["transfer_id"] is not None
    ]
    return AccountPage(
        Position(Epoch(first["epoch"]), Revision(first["at_revision"] or INITIAL_REVISION)), views
    )
