"""Reads where an account statement begins and ends. The transfers between are read with `gateway_reads`."""

from typing import Any, NamedTuple

from livebalance.readmodel.gateway_reads import SEE_ACCOUNT, Connection, check_known
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Epoch, Position, Revision
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import EdgeView


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
def _last_before(time: str) -> str:
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
  left join lateral {_last_before("coalesce($2::text, '-infinity')::timestamptz")} o on true
  left join lateral {_last_before("coalesce($3::text, 'infinity')::timestamptz")} c on true
"""


async def read_edges(
    connection: Connection, account: AccountId, since: Millis | None, until: Millis | None
) -> StatementEdges:
    """Returns the edges of the period that includes `since` but not `until`.

    None stands for the first transfer and for the last.

    Raises:
        UnavailableError: The projection does not exist, or this server is not known.
    """
    period = [None if time is None else format_rfc3339(time) for time in (since, until)]
    row = check_known(await connection.fetch(_EDGES, account, *period))
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
