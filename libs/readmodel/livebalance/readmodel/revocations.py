"""Rights taken back before their token ends: written by an operator, read by every gateway."""

from datetime import timedelta
from typing import NamedTuple

from livebalance.readmodel.gateway_reads import Connection, Row
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis

KEPT = timedelta(days=30)  # no token lives longer
OVERLAP = timedelta(minutes=1)  # between two reads: a transaction may become visible after a later one


class Revocation(NamedTuple):
    """Concerns the tokens that have all of what is named: a subject, a session of the issuer, an account."""

    subject: str | None
    login: str | None
    account: AccountId | None
    at: Millis  # by Postgres' clock


_READ = """
select subject, login, account_id, (extract(epoch from at) * 1000)::int8 as at
  from revocation where at > now() - $1::interval order by at
"""
_WRITE = """
insert into revocation (subject, login, account_id, why) values ($1, $2, $3, $4)
returning subject, login, account_id, (extract(epoch from at) * 1000)::int8 as at
"""


async def revoked(connection: Connection, within: timedelta = KEPT) -> list[Revocation]:
    """Those of the time `within` until now, oldest first."""
    return [_revocation(row) for row in await connection.fetch(_READ, within)]


async def revoke(
    connection: Connection, subject: str | None, login: str | None, account: AccountId | None, why: str
) -> Revocation:
    """Raises what the driver raises when nothing at all is named."""
    return _revocation((await connection.fetch(_WRITE, subject, login, account, why))[0])


def _revocation(row: Row) -> Revocation:
    return Revocation(row["subject"], row["login"], row["account_id"], row["at"])
