"""The statement that reads a set of accounts: its members, and the number of each lane's newest batch.

All of it is of a single moment, so that the sum of the members is that of SQL at these batches (decision 36),
and the totals that projectors keep are equal to it (decision 46).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, json

from livebalance.readmodel.gateway_reads import RFC3339, Connection, UnavailableError, check_known
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision, SetName
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView


class Member(NamedTuple):
    """A member of a set, and its lane."""

    view: MemberView
    lane: Lane


class SetState(NamedTuple):
    """A set at a single moment."""

    epoch: Epoch
    lanes: Mapping[Lane, int]  # the number of the newest batch of each lane
    members: Mapping[AccountId, Member]  # if they are too many, one more than the limit
    as_of: Millis | None  # time that all lanes are complete as of
    wrong_lanes: Sequence[Lane] = ()  # lanes whose owners keep another total than the sum of the members


class _Row(Struct, array_like=True, gc=False):
    account: AccountId
    lane: Lane
    revision: Revision
    amount: str
    currency: str | None
    client_id: str
    disputed_since: str | None


_decoder = json.Decoder(list[_Row])

_SEE = {
    "prefix": "set_config('livebalance.prefixes', $1::text || '*', true) as name",
    "client": "set_config('livebalance.clients', $1::text, true) as name",
}
_CHANNEL = {"prefix": "'prefix:' || left(seen.name, -1)", "client": "'client:' || seen.name"}
# An id compares byte by byte, and `~` sorts after every id.
_MATCHES = {
    "prefix": """account_id >= left(seen.name, -1) collate "C"
               and account_id < (left(seen.name, -1) || '~') collate "C" """,
    "client": "client_id = seen.name",
}


def _statement(kind: str) -> str:
    return f"""
with seen as materialized (select {_SEE[kind]}),
member as materialized (
  select m.* from seen cross join lateral (
         select account_id, lane, revision, balance, currency, client_id, disputed_since
           from balance where {_MATCHES[kind]} and balance is not null limit $2) m),
counted as materialized (
  select c.* from seen cross join lateral (
         select channel, lane from counted_set join lane using (lane)
          where channel = {_CHANNEL[kind]} and counted_set.generation >= kept_since
            and kept_generation = lane.generation) c)
select n.epoch, n.known, n.partitions, l.*, m.members, k.wrong_lanes
  from truth n cross join seen
 cross join (select array_agg(lane) as lanes, array_agg(batches) as batches, count(*) as lane_count,
                    case when count(as_of) = count(*) then (extract(epoch from min(as_of)) * 1000)::int8 end
                      as as_of,
                    bool_and(batches_generation is not distinct from generation) as numbered
               from lane) l
 cross join (select coalesce(json_agg(json_build_array(
                      account_id, lane, revision, balance::text, currency, client_id,
                      {RFC3339.format("disputed_since")})), '[]')::text as members
               from member) m
 cross join (select coalesce(array_agg(distinct lane), '{{}}') as wrong_lanes
               from (select lane, currency, scale, accounts, amount
                       from counted join set_total using (channel, lane)
                      where (accounts, amount) <> (0, 0)) t
               full join (select lane, coalesce(currency, '') as currency, scale(balance) as scale,
                                 count(*) as accounts, sum(balance) as amount
                            from member where lane in (select lane from counted) group by 1, 2, 3) s
              using (lane, currency, scale)
              where (t.accounts, t.amount) is distinct from (s.accounts, s.amount)) k
"""


_PREFIX, _CLIENT = _statement("prefix"), _statement("client")


async def read_set(connection: Connection, name: SetName, limit: int) -> SetState:
    """Returns a set, with at most `limit` members and one more.

    Args:
        connection: A connection or pool of the role `gateway`.
        name: The set.
        limit: Maximum number of accounts of a set.

    Raises:
        UnavailableError: The projection does not exist, this server is not known, or a lane is missing or
            belongs to a projector of an older release, which does not number its batches.
    """
    statement = _PREFIX if name.kind == "prefix" else _CLIENT
    row = check_known(await connection.fetch(statement, name.value, limit + 1))
    if row["lane_count"] != row["partitions"] or not row["numbered"]:
        raise UnavailableError("a lane has no projector that numbers its batches")
    members = (
        Member(
            MemberView(
                each.account,
                each.revision,
                each.amount,
                each.currency,
                each.client_id,
                each.disputed_since,
            ),
            each.lane,
        )
        for each in _decoder.decode(row["members"])
    )
    return SetState(
        Epoch(row["epoch"]),
        dict(zip(map(Lane, row["lanes"]), row["batches"], strict=True)),
        {member.view.account: member for member in members},
        row["as_of"],
        [Lane(lane) for lane in row["wrong_lanes"]],
    )
