"""Statements that a gateway follows accounts with. Each also returns the epoch, and if this server is known.

A server that the projection was not written to raises UnavailableError (docs/guarantees.md#epoch).

Transfers up to an account's `erased_revision` are erased, and may still be stored: no statement returns them.

Row-level security (decision 11, migration 0004) shows the role `gateway` only the accounts that its
transaction has named in a setting. So every statement begins with `seen`, which sets it, and takes the
accounts that it looks up from there. A lateral subquery with a limit runs after the rows that it refers to,
in every plan.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from livebalance.wire.identity import (
    INITIAL_REVISION,
    AccountId,
    Epoch,
    Lane,
    Position,
    Revision,
    TransferId,
)
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, format_source

SNAPSHOT_TRANSFERS = 50

# Settings of the connections. Each statement reads few rows in the order of an index. Compiling takes longer
# than running, and a bitmap scan would read all transfers of an account to find 50. Planning takes longer,
# too: without a generic plan Postgres would plan each read of a long account anew. A generic plan does not
# know its limits, so it seems to cost a tenth of all transfers.
SETTINGS = {"jit": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"}


class Row(Protocol):
    """The part of a record of asyncpg that is used here."""

    def __getitem__(self, column: str) -> Any: ...


class Connection(Protocol):
    """The part of a connection or pool of asyncpg that is used here."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Row]:
        """Runs a statement and returns its rows."""


class UnavailableError(Exception):
    """The projection does not exist yet, or this server is not the server it was written to."""


class AccountQuery(NamedTuple):
    """An account to read, and the position of the client's state; None: the client has no state."""

    account: AccountId
    after: Position | None


class AccountState(NamedTuple):
    """An account at a single moment.

    If `continues`, `transfers` are those after the position of the query, in order. Otherwise they are the
    newest transfers, newest first. `more`: there are further transfers that were not read.
    """

    epoch: Epoch
    revision: Revision  # 0: the account does not exist yet
    lane: Lane | None
    as_of: Millis | None  # time that the account's lane is complete as of
    recorded_at: Millis  # of `revision`; if `continues` and `more`, of the last transfer read
    balance: BalanceView | None
    transfers: list[TransferView]
    continues: bool
    more: bool
    erased: bool  # and not alive again
    erased_revision: Revision  # of the last erasure, 0: there was none


class LaneProgress(NamedTuple):
    """How far a lane is complete, and why it is halted; None: it is not halted."""

    as_of: Millis | None
    halted_why: str | None
    batches: int | None = None  # that changed its accounts; None: its projector does not count them


class SkippedRange(NamedTuple):
    """Revisions from `first` to `last` that clients got as a snapshot, not as deltas."""

    first: Revision
    last: Revision


class ContentDigest(NamedTuple):
    """Digests (SHA-256) of what was relayed of an account above the revision `since`.

    `transfers` is of `content.canonical_transfers` of all frames, and `balance` of
    `content.canonical_balance` of the last frame; None: a snapshot has replaced that balance.
    """

    since: Revision
    transfers: bytes
    balance: bytes | None
    skipped: tuple[SkippedRange, ...] = ()


class AuditFinding(NamedTuple):
    """Result of an audit: all lanes, and the accounts that differ, at a single moment."""

    epoch: Epoch
    partitions: int
    lanes: dict[Lane, LaneProgress]
    revisions: dict[AccountId, Revision]  # only of accounts with another revision than expected
    different: frozenset[AccountId] = frozenset()  # accounts with other content up to the expected revision


# Lasts until the end of the statement's transaction. Ids contain no comma.
SEE = "seen as materialized (select set_config('livebalance.accounts', {0}, true) as accounts)"
SEE_ACCOUNT = SEE.format("$1")
SEE_ACCOUNTS = SEE.format("array_to_string($1::text[], ',')")

MS = "(extract(epoch from {0}) * 1000)::int8"

BALANCE = f"""
       b.revision, b.balance::text as amount, b.currency, b.version, b.transfer_id, b.client_id,
       b.opening::text as opening, b.half_applied::text as half_applied, b.drift::text as drift,
       {MS.format("b.disputed_since")} as disputed_since"""

TRANSFER = f"""
       transfer_id, amount::text as amount, total::text as total, {MS.format("occurred_at")} as occurred_at,
       revision, topic, lane, source_offset, {MS.format("recorded_at")} as recorded_at"""

# The oldest lane's time, or unknown if a lane is missing.
ALL_LANES = """
       select case when count(as_of) = (select partitions from {0}) then min(as_of) end as as_of from lane"""

# An account without a lane is complete as of the time of all lanes.
_ACCOUNTS = f"""
with {SEE_ACCOUNTS},
     now as materialized (select epoch, partitions, known from truth),
     lanes as materialized ({ALL_LANES.format("now")})
select n.epoch, n.known, {BALANCE}, b.lane, b.transfer_count,
       {MS.format("case when b.lane is null then a.as_of else l.as_of end")} as as_of,
       {MS.format("b.recorded_at")} as recorded_at, b.erased_revision, f.continues, t.*
  from now n cross join lanes a cross join seen
 cross join unnest(string_to_array(seen.accounts, ','), $2::text[], $3::int8[])
       with ordinality as w (account, epoch, after, n)
  left join lateral (select * from balance where account_id = w.account limit 1) b on true
  left join lane l on l.lane = b.lane
 cross join lateral (
       select coalesce(w.epoch = n.epoch and coalesce(b.revision, 0) - w.after between 0 and $4
                       and w.after >= coalesce(b.erased_revision, 0), false) as continues) f
 cross join lateral (
       select array_agg(transfer_id) as ids, array_agg(amount) as amounts, array_agg(total) as totals,
              array_agg(occurred_at) as occurred, array_agg(revision) as revisions,
              array_agg(topic) as topics, array_agg(lane) as lanes, array_agg(source_offset) as offsets,
              array_agg(recorded_at) as recorded
         from ((select {TRANSFER} from transfer
                 where f.continues and account_id = w.account and revision > w.after
                 order by revision limit $5 + 1)
               union all
               (select {TRANSFER} from transfer
                 where not f.continues and account_id = w.account
                   and revision > coalesce(b.erased_revision, 0)
                 order by revision desc limit {SNAPSHOT_TRANSFERS} + 1)) r) t
 order by w.n
"""


async def read_accounts(
    connection: Connection, queries: Sequence[AccountQuery], resume_max: int, page: int
) -> list[AccountState]:
    """Returns the state of each account, in the order of `queries`, read in a single statement.

    Args:
        connection: A connection or pool of the role `gateway`.
        queries: The accounts, each with the client's position.
        resume_max: Revisions that a position of this epoch may be behind. Such a query gets the transfers
            after its position, unless the account was erased since. Any other query gets the newest 50
            (docs/guarantees.md#recovery).
        page: Maximum number of transfers after a position.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    rows = await connection.fetch(
        _ACCOUNTS,
        [query.account for query in queries],
        [query.after.epoch if query.after else None for query in queries],
        [query.after.revision if query.after else None for query in queries],
        resume_max,
        page,
    )
    check_known(rows)
    return [_account_state(row, page) for row in rows]


def check_known(rows: Sequence[Row]) -> Row:
    """Returns the first row of a result, after checking that the server is known.

    Raises:
        UnavailableError: There is no row, or the projection was written to another server.
    """
    if not rows or not rows[0]["known"]:
        raise UnavailableError("the projection is missing or belongs to another server")
    return rows[0]


def _account_state(row: Row, page: int) -> AccountState:
    continues: bool = row["continues"]
    transfers, recorded = _transfers(row, newest_first=not continues)
    limit = page if continues else SNAPSHOT_TRANSFERS
    more = len(transfers) > limit
    return AccountState(
        epoch=Epoch(row["epoch"]),
        revision=Revision(row["revision"] or INITIAL_REVISION),
        lane=None if row["lane"] is None else Lane(row["lane"]),
        as_of=row["as_of"],
        recorded_at=Millis(recorded[limit - 1] if continues and more else row["recorded_at"] or 0),
        balance=balance_view(row),
        transfers=transfers[:limit],
        continues=continues,
        more=more,
        erased=row["revision"] is not None
        and row["amount"] is None
        and row["transfer_count"] == 0
        and row["opening"] is None,
        erased_revision=Revision(row["erased_revision"] or INITIAL_REVISION),
    )


def _transfers(row: Row, newest_first: bool) -> tuple[list[TransferView], list[int]]:
    if row["ids"] is None:
        return [], []
    columns = ("revisions", "ids", "amounts", "totals", "occurred", "topics", "lanes", "offsets", "recorded")
    # array_agg guarantees no order. Rows that are already in order are cheap to sort.
    transfers = sorted(zip(*(row[name] for name in columns), strict=True), reverse=newest_first)
    views = [
        TransferView(id_, amount, total, format_rfc3339(at), revision, format_source(topic, lane, offset))
        for revision, id_, amount, total, at, topic, lane, offset, _ in transfers
    ]
    return views, [transfer[-1] for transfer in transfers]


def balance_view(row: Row) -> BalanceView | None:
    """Returns the balance of a row with the columns of `BALANCE`; None: the account has no balance."""
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
        disputed_since=None if disputed is None else format_rfc3339(disputed),
    )


RFC3339 = "to_char({0} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

# The JSON that `readmodel.content` makes of the frames that were relayed: the columns are the fields of a
# TransferView and of a BalanceView, in the same order. The balance counts only at the same revision.
# No field of a transfer has a character that JSON escapes.
_TRANSFERS_JSON = f"""
       select coalesce(string_agg(
                '{{"id":"' || transfer_id || '","amount":"' || amount || '","total":"' || total
                || '","occurred_at":"' || {RFC3339.format("occurred_at")} || '","revision":' || revision
                || ',"source":"' || topic || '/' || lane || '@' || source_offset || '"}},', ''
                order by revision), '')
         from transfer where account_id = w.account and revision > w.since and revision <= w.revision
                         and not revision <@ w.skipped"""
_BALANCE_JSON = f"""
       select case when b.balance is null then 'null' else row_to_json(r)::text end
         from (select b.balance::text as amount, b.currency, b.version, b.revision, b.transfer_id,
                      b.client_id, b.opening::text as opening, b.half_applied::text as half_applied,
                      b.drift::text as drift, {RFC3339.format("b.disputed_since")} as disputed_since) r"""
_CONTENT_DIFFERS = f"""
    b.erased_revision > w.since
    or w.transfers <> sha256(convert_to(({_TRANSFERS_JSON}), 'UTF8'))
    or b.revision = w.revision and w.balance <> sha256(convert_to(({_BALANCE_JSON}), 'UTF8'))"""

_AUDIT = f"""
with {SEE_ACCOUNTS}
select n.epoch, n.known, n.partitions, l.lanes, l.as_of, l.halted_why, l.batches, d.*
  from truth n
 cross join (select array_agg(lane) as lanes, array_agg({MS.format("as_of")}) as as_of,
                    array_agg(halted_why) as halted_why,
                    array_agg(case when batches_generation = generation then batches end) as batches
               from lane) l
 cross join (select array_agg(w.account) as accounts, array_agg(coalesce(b.revision, 0)) as revisions,
                    array_agg(c.differs) as differ
               from seen cross join unnest(string_to_array(seen.accounts, ','), $2::int8[], $3::int8[],
                                           $4::bytea[], $5::bytea[], $6::int8multirange[])
                    as w (account, revision, since, transfers, balance, skipped)
               left join lateral (select * from balance where account_id = w.account limit 1) b on true
              cross join lateral (
                    select case when w.since is null or b.revision is null or b.revision < w.revision
                                     or b.erased_revision > w.revision then false
                                else {_CONTENT_DIFFERS} end as differs) c
              where coalesce(b.revision, 0) <> w.revision or c.differs) d
"""

NO_CONTENT: Mapping[AccountId, ContentDigest] = {}
_NOTHING_RELAYED = (None, None, None, ())


async def read_audit(
    connection: Connection,
    expected: Mapping[AccountId, Position],
    contents: Mapping[AccountId, ContentDigest] = NO_CONTENT,
) -> AuditFinding:
    """Returns the accounts that have another revision or content than expected, and each lane's progress.

    A heartbeat's `as_of` comes only from this statement (docs/guarantees.md#audit).

    Args:
        connection: A connection or pool of the role `gateway`.
        expected: The accounts, each with the position that is expected.
        contents: What was relayed of some accounts up to this position.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    revisions = [position.revision for position in expected.values()]
    digests = [contents.get(account, _NOTHING_RELAYED) for account in expected]
    columns = list(zip(*digests, strict=True)) or [(), (), (), ()]
    row = check_known(await connection.fetch(_AUDIT, list(expected), revisions, *columns))
    lanes = [row[name] or () for name in ("lanes", "as_of", "halted_why", "batches")]
    found = list(zip(row["accounts"] or (), row["revisions"] or (), row["differ"] or (), strict=True))
    return AuditFinding(
        epoch=Epoch(row["epoch"]),
        partitions=row["partitions"],
        lanes={Lane(lane): LaneProgress(*progress) for lane, *progress in zip(*lanes, strict=True)},
        revisions={
            account: revision for account, revision, _ in found if revision != expected[account].revision
        },
        different=frozenset(account for account, _, differs in found if differs),
    )
