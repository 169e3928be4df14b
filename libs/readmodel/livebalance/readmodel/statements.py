"""Reads of an account's transfers in a period: the edges of a statement, a search, and a chart.

The transfers of a statement are read with `account_pages`. However many transfers an account has, a search
reads at most `SCAN_ROWS` of them, and a chart a transfer for each point, in the order of an index.
"""

from typing import Any, NamedTuple

from livebalance.readmodel.account_pages import AccountPage, account_page
from livebalance.readmodel.gateway_reads import MS, SEE_ACCOUNT, TRANSFER, Connection, check_known
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Epoch, Position, Revision, TransferId
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import ChartView, EdgeView, PointView

SCAN_ROWS = 5000  # transfers that a search reads at most


class Period(NamedTuple):
    """Includes `since` but not `until`, by Kafka's times. None stands for the first and the last transfer."""

    since: Millis | None = None
    until: Millis | None = None

    def texts(self) -> list[str | None]:
        """Returns both times as parameters of a statement."""
        return [None if time is None else format_rfc3339(time) for time in self]


class StatementEdges(NamedTuple):
    """`opening` is after the last transfer before the period, `closing` after the last transfer in it."""

    position: Position  # of the account when the edges were read
    currency: str | None
    account_opening: str | None  # balance before the account's first transfer; None until it is known
    opening: EdgeView
    closing: EdgeView


# Kafka times never decrease within an account, so the transfers of a period are consecutive, and a search
# over the revisions finds its edges. Every transfer up to `low` is before the time, every transfer above
# `high` is not. Each step looks at the first transfer after the middle.
def last_before(time: str) -> str:
    """Returns a subquery for the last transfer that was recorded before an expression of SQL."""
    return f"""
       (with recursive search (low, high) as (
          select b.erased_revision, b.revision
           union all
          select case when x.recorded_at < {time} then x.revision else s.low end,
                 case when x.recorded_at < {time} then s.high else s.middle end
            from (select low, high, (low + high) / 2 as middle from search where low < high) s
            left join lateral (
                 select revision, recorded_at from transfer
                  where account_id = seen.accounts and revision > s.middle and revision <= s.high
                  order by revision limit 1) x on true)
        select revision, total from transfer
         where account_id = seen.accounts and revision = (select max(low) from search))"""


_EDGES = f"""
with {SEE_ACCOUNT}
select n.epoch, n.known, b.revision as at_revision, b.currency, b.opening::text as account_opening,
       o.revision as opening_revision, coalesce(o.total, 0)::text as opening_total,
       (b.opening + coalesce(o.total, 0))::text as opening_balance,
       c.revision as closing_revision, coalesce(c.total, 0)::text as closing_total,
       (b.opening + coalesce(c.total, 0))::text as closing_balance
  from truth n cross join seen
  left join lateral (select revision, erased_revision, currency, opening from balance
                      where account_id = seen.accounts limit 1) b on true
  left join lateral {last_before("coalesce($2::text, '-infinity')::timestamptz")} o on true
  left join lateral {last_before("coalesce($3::text, 'infinity')::timestamptz")} c on true
"""


async def read_edges(
    connection: Connection, account: AccountId, since: Millis | None, until: Millis | None
) -> StatementEdges:
    """Returns the edges of the period that includes `since` but not `until`.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    row = check_known(await connection.fetch(_EDGES, account, *Period(since, until).texts()))
    return StatementEdges(
        Position(Epoch(row["epoch"]), Revision(row["at_revision"] or INITIAL_REVISION)),
        row["currency"],
        row["account_opening"],
        _edge(row, "opening"),
        _edge(row, "closing"),
    )


def _edge(row: Any, name: str) -> EdgeView:
    revision = Revision(row[f"{name}_revision"] or INITIAL_REVISION)
    return EdgeView(revision, row[f"{name}_total"], row[f"{name}_balance"])


class TransferFilter(NamedTuple):
    """Conditions on transfers; None: no condition. Amounts are compared without their signs."""

    period: Period = Period()
    sign: int | None = None  # 1: credits, -1: debits
    least: Money | None = None
    most: Money | None = None
    id_part: str = ""  # text that the id contains


# `edge` is the last transfer before the period, `closing` the last transfer in it.
_PERIOD = f"""
with {SEE_ACCOUNT}
select n.epoch, n.known, b.revision as at_revision, t.*
  from truth n cross join seen
  left join lateral (select revision, erased_revision from balance
                      where account_id = seen.accounts limit 1) b on true
  left join lateral {last_before("coalesce($2::text, '-infinity')::timestamptz")} edge on true
  left join lateral {last_before("coalesce($3::text, 'infinity')::timestamptz")} closing on true"""

# The last row of a full scan is returned even if it does not match: the next page begins below it.
# Row-level security lets only comparisons with columns use the index, not with COALESCE or sums: hence `e`,
# and `target` below.
_SEARCH = f"""
{_PERIOD} left join lateral (
       select coalesce(edge.revision, b.erased_revision, 0) as after, coalesce(closing.revision, 0) as until,
              coalesce((select revision from transfer where account_id = seen.accounts and transfer_id = $8
                           and revision > coalesce(b.erased_revision, 0)),
                       case when $8 is null then 9223372036854775807 end) as before
       offset 0) e on true
  left join lateral (
       select * from (
              select scan.*, count(*) filter (where matches) over newest_first as matching,
                     row_number() over newest_first as place
                from (select {TRANSFER},
                             sign(amount) = coalesce($4::int4, sign(amount))
                             and abs(amount) >= coalesce($5::text::numeric, abs(amount))
                             and abs(amount) <= coalesce($6::text::numeric, abs(amount))
                             and strpos(transfer_id, $7) > 0 as matches
                        from transfer
                       where account_id = seen.accounts
                         and revision > e.after and revision <= e.until and revision < e.before
                       order by revision desc limit {SCAN_ROWS}) scan
              window newest_first as (order by revision desc)) ranked
        where matches and matching <= $9 or place = {SCAN_ROWS}) t on true
 order by t.revision desc
"""

_CHART = f"""
{_PERIOD} left join lateral (
       select distinct x.*
         from (select coalesce(edge.revision, b.erased_revision)
                    + (closing.revision - coalesce(edge.revision, b.erased_revision)) * step / $4 as target
                 from generate_series(0, $4::int8) as step offset 0) steps
        cross join lateral (
              select revision, total::text as total, {MS.format("recorded_at")} as recorded_at
                from transfer
               where account_id = seen.accounts and revision > coalesce(b.erased_revision, 0)
                 and revision >= steps.target and revision <= closing.revision
               order by revision limit 1) x) t on true
 order by t.revision
"""


class SearchPage(NamedTuple):
    """Transfers that match, newest first. Those older than the transfer `next_` remain; None: none do."""

    page: AccountPage
    next_: TransferId | None


async def search_transfers(
    connection: Connection,
    account: AccountId,
    conditions: TransferFilter,
    before: TransferId | None,
    limit: int,
) -> SearchPage:
    """Returns up to `limit` transfers that match and are older than `before`, newest first.

    It searches at most `SCAN_ROWS` transfers, so a page can have fewer transfers than `limit`, or none, and
    still have a next page.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    period, sign, least, most, id_part = conditions
    amounts = [None if amount is None else str(amount) for amount in (least, most)]
    rows = await connection.fetch(
        _SEARCH, account, *period.texts(), sign, *amounts, id_part, before, limit + 1
    )
    position, transfers = account_page(rows)
    matching = [transfer for transfer, row in zip(transfers, rows, strict=False) if row["matches"]]
    next_ = transfers[-1].id if rows[-1]["place"] == SCAN_ROWS else None
    if len(matching) > limit:
        next_ = matching[limit - 1].id
    return SearchPage(AccountPage(position, matching[:limit]), next_)


async def read_chart(connection: Connection, account: AccountId, period: Period, points: int) -> ChartView:
    """Returns at most `points` + 1 transfers of the period, at about equal distances of revisions.

    The last transfer before the period comes first.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    rows = await connection.fetch(_CHART, account, *period.texts(), points)
    first = check_known(rows)
    return ChartView(
        first["epoch"],
        Revision(first["at_revision"] or INITIAL_REVISION),
        [
            PointView(Revision(row["revision"]), row["total"], format_rfc3339(row["recorded_at"]))
            for row in rows
            if row["total"] is not None
        ],
    )
