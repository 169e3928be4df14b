"""Where a statement begins and ends. What is between is read as any page of transfers."""

from typing import Any, NamedTuple

from livebalance.readmodel.gateway_reads import SEEN_ONE, Connection, check
from livebalance.wire.identity import ZERO, AccountId, Epoch, Position, Revision
from livebalance.wire.timestamp import Millis, rfc3339
from livebalance.wire.views import EdgeView


class Edges(NamedTuple):
    """`opening` is of the last transfer recorded before the period, `closing` of the last one in it."""

    at: Position
    currency: str | None
    account_opening: str | None  # before its first transfer; null until that is known
    opening: EdgeView
    closing: EdgeView


# Kafka times never go back within an account: those of a period stand together.
def _last_before(time: str) -> str:
    return f"""
       (select revision, total from transfer where account_id = seen.accounts and recorded_at < {time}
         order by revision desc limit 1)"""


_EDGES = f"""
with {SEEN_ONE}
select n.epoch, n.known, b.revision as at, b.currency, b.opening::text as account_opening,
       o.revision as opening_revision, coalesce(o.total, 0)::text as opening_total,
       (b.opening + coalesce(o.total, 0))::text as opening_balance,
       c.revision as closing_revision, coalesce(c.total, 0)::text as closing_total,
       (b.opening + coalesce(c.total, 0))::text as closing_balance
  from truth n cross join seen
  left join lateral (select revision, currency, opening from balance
                      where account_id = seen.accounts limit 1) b on true
  left join lateral {_last_before("coalesce($2::text, '-infinity')::timestamptz")} o on true
  left join lateral {_last_before("coalesce($3::text, 'infinity')::timestamptz")} c on true
"""


async def edges(
    connection: Connection, account: AccountId, since: Millis | None, until: Millis | None
) -> Edges:
    """Of the period with `since` and without `until`; None: from the first, up to the last transfer.

    Raises UnavailableError.
    """
    period = [None if time is None else rfc3339(time) for time in (since, until)]
    row = check(await connection.fetch(_EDGES, account, *period))
    return Edges(
        Position(Epoch(row["epoch"]), Revision(row["at"] or ZERO)),
        row["currency"],
        row["account_opening"],
        _edge(row, "opening"),
        _edge(row, "closing"),
    )


def _edge(row: Any, name: str) -> EdgeView:
    revision = Revision(row[f"{name}_revision"] or ZERO)
    return EdgeView(revision, row[f"{name}_total"], row[f"{name}_balance"])
