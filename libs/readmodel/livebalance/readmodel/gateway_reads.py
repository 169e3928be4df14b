"""What a gateway asks of the projection. Each statement also tells the epoch and if this server is known.

An answer of a server that `projection` does not know is never data: `UnavailableError` (design: epoch).

A gateway's role sees rows of no account but those that were named to Postgres before in its transaction
(migration 0004). So every statement begins with `seen`, and takes what it looks for out of what that has set:
a lateral part with a limit runs after what it refers to, whatever the planner thinks of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from livebalance.wire.identity import (
    ZERO,
    AccountId,
    Epoch,
    Lane,
    Offset,
    Position,
    Revision,
    TransferId,
)
from livebalance.wire.timestamp import Millis, rfc3339
from livebalance.wire.views import AccountView, BalanceView, TransferView, source

SNAPSHOT_TRANSFERS = 50

# What the connections for these statements are to be set to. Each reads few rows, in the order of an index:
# compiling takes longer than running, and a bitmap would read all transfers of an account to sort out 50.
SETTINGS = {"jit": "off", "enable_bitmapscan": "off"}


class Row(Protocol):
    def __getitem__(self, column: str) -> Any: ...


class Connection(Protocol):
    """As much of a connection or pool of asyncpg as is needed."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Row]: ...


class UnavailableError(Exception):
    """There is no projection yet, or this server is not the one it was written to."""


class AccountQuery(NamedTuple):
    """An account, and the position its reader has: None for a reader without any state."""

    account: AccountId
    after: Position | None


class AccountState(NamedTuple):
    """An account as it was at one moment.

    `follows`: `transfers` are those after the position asked with, in order; else they are the newest, newest
    first. `more`: there are further ones that were not read.
    """

    epoch: Epoch
    revision: Revision  # 0: no such account yet
    lane: Lane | None
    as_of: Millis | None  # complete as of, by the account's lane
    recorded_at: Millis  # of `revision`; when `follows` and `more`, of the last transfer read
    balance: BalanceView | None
    transfers: list[TransferView]
    follows: bool
    more: bool
    erased: bool


class LaneProgress(NamedTuple):
    """How far a lane is."""

    as_of: Millis | None
    halted_why: str | None


class AuditFinding(NamedTuple):
    """What an audit found at one moment."""

    epoch: Epoch
    partitions: int
    lanes: dict[Lane, LaneProgress]
    revisions: dict[AccountId, Revision]  # only of accounts that are not at the revision asked with


# Of this statement's transaction; ids have no comma.
_SEEN = "seen as materialized (select set_config('livebalance.accounts', {0}, true) as accounts)"
SEEN_ONE = _SEEN.format("$1")
_SEEN_ALL = _SEEN.format("array_to_string($1::text[], ',')")

_MS = "(extract(epoch from {0}) * 1000)::int8"

_BALANCE = f"""
       b.revision, b.balance::text as amount, b.currency, b.version, b.transfer_id, b.client_id,
       b.opening::text as opening, b.half_applied::text as half_applied, b.drift::text as drift,
       {_MS.format("b.disputed_since")} as disputed_since"""

_TRANSFER = f"""
       transfer_id, amount::text as amount, total::text as total, {_MS.format("occurred_at")} as occurred_at,
       revision, topic, lane, source_offset, {_MS.format("recorded_at")} as recorded_at"""

# The oldest of all lanes stands for an account that has no lane yet; with a lane missing, none does.
_ACCOUNTS = f"""
with {_SEEN_ALL},
     now as materialized (select epoch, partitions, known from truth),
     lanes as materialized (
       select case when count(as_of) = (select partitions from now) then min(as_of) end as as_of from lane)
select n.epoch, n.known, {_BALANCE}, b.lane, b.transfer_count,
       {_MS.format("case when b.lane is null then a.as_of else l.as_of end")} as as_of,
       {_MS.format("b.recorded_at")} as recorded_at, f.follows, t.*
  from now n cross join lanes a cross join seen
 cross join unnest(string_to_array(seen.accounts, ','), $2::text[], $3::int8[])
       with ordinality as w (account, epoch, after, n)
  left join lateral (select * from balance where account_id = w.account limit 1) b on true
  left join lane l on l.lane = b.lane
 cross join lateral (
       select coalesce(w.epoch = n.epoch and coalesce(b.revision, 0) - w.after between 0 and $4, false)
           as follows) f
 cross join lateral (
       select array_agg(transfer_id) as ids, array_agg(amount) as amounts, array_agg(total) as totals,
              array_agg(occurred_at) as occurred, array_agg(revision) as revisions,
              array_agg(topic) as topics, array_agg(lane) as lanes, array_agg(source_offset) as offsets,
              array_agg(recorded_at) as recorded
         from ((select {_TRANSFER} from transfer
                 where f.follows and account_id = w.account and revision > w.after
                 order by revision limit $5 + 1)
               union all
               (select {_TRANSFER} from transfer
                 where not f.follows and account_id = w.account
                 order by revision desc limit {SNAPSHOT_TRANSFERS} + 1)) r) t
 order by w.n
"""


async def accounts(
    connection: Connection, asked: Sequence[AccountQuery], resume_max: int, page: int
) -> list[AccountState]:
    """The state of each account asked for, in one statement, in the order asked.

    A reader whose position is of this epoch and at most `resume_max` revisions behind gets up to `page`
    transfers after it; any other the newest 50. Raises UnavailableError.
    """
    rows = await connection.fetch(
        _ACCOUNTS,
        [one.account for one in asked],
        [one.after.epoch if one.after else None for one in asked],
        [one.after.revision if one.after else None for one in asked],
        resume_max,
        page,
    )
    check(rows)
    return [_found(row, page) for row in rows]


def check(rows: Sequence[Row]) -> Row:
    """The first row, which tells the epoch. Raises UnavailableError."""
    if not rows or not rows[0]["known"]:
        raise UnavailableError("the projection is not here")
    return rows[0]


def _found(row: Row, page: int) -> AccountState:
    follows: bool = row["follows"]
    transfers, recorded = _transfers(row, newest_first=not follows)
    limit = page if follows else SNAPSHOT_TRANSFERS
    more = len(transfers) > limit
    return AccountState(
        epoch=Epoch(row["epoch"]),
        revision=Revision(row["revision"] or ZERO),
        lane=None if row["lane"] is None else Lane(row["lane"]),
        as_of=row["as_of"],
        recorded_at=Millis(recorded[limit - 1] if follows and more else row["recorded_at"] or 0),
        balance=_balance(row),
        transfers=transfers[:limit],
        follows=follows,
        more=more,
        erased=row["revision"] is not None and row["amount"] is None and row["transfer_count"] == 0,
    )


def _transfers(row: Row, newest_first: bool) -> tuple[list[TransferView], list[int]]:
    if row["ids"] is None:
        return [], []
    columns = ("revisions", "ids", "amounts", "totals", "occurred", "topics", "lanes", "offsets", "recorded")
    # An aggregate promises no order; what is in order already costs nothing to sort.
    found = sorted(zip(*(row[name] for name in columns), strict=True), reverse=newest_first)
    views = [
        TransferView(id_, amount, total, rfc3339(at), revision, source(topic, lane, offset))
        for revision, id_, amount, total, at, topic, lane, offset, _ in found
    ]
    return views, [one[-1] for one in found]


def _balance(row: Row) -> BalanceView | None:
    if row["amount"] is None:
        return None
    disputed = row["disputed_since"]
    return BalanceView(
        amount=row["amount"],
        currency=row["currency"],
        version=row["version"],
        revision=Revision(row["revision"]),
        transfer_id=TransferId(row["transfer_id"]),
        client_id=row["client_id"],
        opening=row["opening"],
        half_applied=row["half_applied"],
        drift=row["drift"],
        disputed_since=None if disputed is None else rfc3339(disputed),
    )


_AUDIT = f"""
with {_SEEN_ALL}
select n.epoch, n.known, n.partitions, l.lanes, l.as_of, l.halted_why, d.accounts, d.revisions
  from truth n
 cross join (select array_agg(lane) as lanes, array_agg({_MS.format("as_of")}) as as_of,
                    array_agg(halted_why) as halted_why from lane) l
 cross join (select array_agg(w.account) as accounts, array_agg(coalesce(b.revision, 0)) as revisions
               from seen cross join unnest(string_to_array(seen.accounts, ','), $2::int8[])
                    as w (account, revision)
               left join lateral (select revision from balance where account_id = w.account limit 1) b on true
              where coalesce(b.revision, 0) <> w.revision) d
"""


async def audit(connection: Connection, followed: Mapping[AccountId, Position]) -> AuditFinding:
    """Which of `followed` are at another revision, and how far every lane is, at one moment.

    Raises UnavailableError.
    """
    revisions = [at.revision for at in followed.values()]
    row = check(await connection.fetch(_AUDIT, list(followed), revisions))
    lanes = zip(row["lanes"] or (), row["as_of"] or (), row["halted_why"] or (), strict=True)
    return AuditFinding(
        epoch=Epoch(row["epoch"]),
        partitions=row["partitions"],
        lanes={Lane(lane): LaneProgress(as_of, why) for lane, as_of, why in lanes},
        revisions=dict(zip(row["accounts"] or (), row["revisions"] or (), strict=True)),
    )


# A prefix is told as the claim of a token has it, with a star: the empty one would be none.
_LIST = f"""
with {_SEEN.format("array_to_string($2::text[], ',')")},
     seen_too as materialized (
       select set_config('livebalance.prefixes', array_to_string(stars.of_all, ','), true) as prefixes
         from (select array(select prefix || '*' from unnest($3::text[]) as p (prefix))) as stars (of_all))
select n.epoch, n.known, b.account_id, {_BALANCE}
  from truth n cross join seen cross join seen_too left join lateral (
       (select account_id from balance
         where account_id = any(string_to_array(seen.accounts, ',')) and account_id > $1
         order by account_id limit $4)
       union
       select k.account_id
         from unnest(string_to_array(seen_too.prefixes, ',') collate "C") as p (prefix) cross join lateral (
              select account_id from balance
               where account_id > $1 and account_id >= left(p.prefix, -1)
                 and account_id < left(p.prefix, -1) || '~' -- beyond every id
               order by account_id limit $4) k
       order by account_id limit $4) l on true
  left join lateral (select * from balance where account_id = l.account_id limit 1) b on true
 order by b.account_id
"""


async def listed(
    connection: Connection, ids: Sequence[AccountId], prefixes: Sequence[str], after: str, limit: int
) -> list[AccountView]:
    """Up to `limit` accounts that are one of `ids` or start with one of `prefixes`, by id, beyond `after`.

    Raises UnavailableError.
    """
    rows = await connection.fetch(_LIST, after, ids, prefixes, limit)
    check(rows)
    return [
        AccountView(AccountId(row["account_id"]), row["epoch"], Revision(row["revision"]), _balance(row))
        for row in rows
        if row["account_id"] is not None
    ]


class AccountPage(NamedTuple):
    """Some transfers of an account, and the position it was at."""

    at: Position
    transfers: list[TransferView]


_NOW = f"""
with {SEEN_ONE}
select n.epoch, n.known, b.revision as at, t.*
  from truth n cross join seen
  left join lateral (select revision from balance where account_id = seen.accounts limit 1) b on true"""

_OLDER = f"""
{_NOW} left join lateral (
       select {_TRANSFER} from transfer
        where account_id = seen.accounts and revision < coalesce(
              (select revision from transfer where account_id = seen.accounts and transfer_id = $2),
              case when $2 is null then 9223372036854775807 end)
        order by revision desc limit $3) t on true
 order by t.revision desc
"""
_NEWER = f"""
{_NOW} left join lateral (
       select {_TRANSFER} from transfer where account_id = seen.accounts and revision > $2
        order by revision limit $3) t on true
 order by t.revision
"""
_ONE = f"""
{_NOW} left join lateral (
       select {_TRANSFER} from transfer
        where account_id = seen.accounts and transfer_id = $2 limit 1) t on true
"""
_REVISIONS = f"""
with {_SEEN_ALL}
select n.epoch, n.known, b.account_id, b.revision
  from truth n cross join seen
  left join unnest(string_to_array(seen.accounts, ',')) as w (account) on true
  left join lateral (select account_id, revision from balance where account_id = w.account limit 1) b on true
"""


async def older(
    connection: Connection, account: AccountId, before: TransferId | None, limit: int
) -> AccountPage:
    """Up to `limit` transfers, newest first, older than transfer `before`; None: the newest.

    Raises UnavailableError.
    """
    return _listed(await connection.fetch(_OLDER, account, before, limit))


async def newer(connection: Connection, account: AccountId, after: Revision, limit: int) -> AccountPage:
    """Up to `limit` transfers with a revision above `after`, oldest first. Raises UnavailableError."""
    return _listed(await connection.fetch(_NEWER, account, after, limit))


async def transfer(connection: Connection, account: AccountId, id_: TransferId) -> AccountPage:
    """One transfer, or none. Raises UnavailableError."""
    return _listed(await connection.fetch(_ONE, account, id_))


async def revisions(connection: Connection, accounts: Sequence[AccountId]) -> dict[AccountId, Revision]:
    """Of those that are there. Raises UnavailableError."""
    rows = await connection.fetch(_REVISIONS, accounts)
    check(rows)
    return {row["account_id"]: Revision(row["revision"]) for row in rows if row["account_id"] is not None}


def _listed(rows: Sequence[Row]) -> AccountPage:
    first = check(rows)
    views = [
        TransferView(
            id=TransferId(row["transfer_id"]),
            amount=row["amount"],
            total=row["total"],
            occurred_at=rfc3339(row["occurred_at"]),
            revision=Revision(row["revision"]),
            source=source(row["topic"], Lane(row["lane"]), Offset(row["source_offset"])),
        )
        for row in rows
        if row["transfer_id"] is not None
    ]
    return AccountPage(Position(Epoch(first["epoch"]), Revision(first["at"] or ZERO)), views)
