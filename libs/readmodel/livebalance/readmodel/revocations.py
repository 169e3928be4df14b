"""Revocations of tokens: an operator writes them, every gateway reads them (decision 12)."""

from datetime import timedelta
from typing import NamedTuple

from livebalance.readmodel.gateway_reads import Connection, Row
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis

RETENTION = timedelta(days=30)  # the maximum lifetime of a token
OVERLAP = timedelta(minutes=1)  # of two reads, because a transaction may commit after a later one


class Revocation(NamedTuple):
    """Applies to tokens that match all fields that are not None."""

    subject: str | None
    login: str | None  # session of the issuer
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


async def read_revocations(connection: Connection, within: timedelta = RETENTION) -> list[Revocation]:
    """Returns the revocations of the last `within`, oldest first."""
    return [_revocation(row) for row in await connection.fetch(_READ, within)]


async def revoke(
    connection: Connection, subject: str | None, login: str | None, account: AccountId | None, why: str
) -> Revocation:
    """Writes a revocation and returns it, with the time of Postgres.

    Raises:
        asyncpg.CheckViolationError: Subject, login and account are all None.
    """
    return _revocation((await connection.fetch(_WRITE, subject, login, account, why))[0])


def _revocation(row: Row) -> Revocation:
    return Revocation(row["subject"], row["login"], row["account_id"], row["at"])
