"""Rows of a comparison of the projection with its shadow."""

from typing import NamedTuple
from uuid import UUID

from livebalance.wire.identity import AccountId, Lane, Offset


class LaneEnd(NamedTuple):
    """The next offsets of a lane in both topics, and Kafka's ids of the topics. None: unknown."""

    transfers: Offset
    balances: Offset
    from_start: bool = True
    halted_why: str | None = None
    transfers_topic_id: UUID | None = None
    balances_topic_id: UUID | None = None


class Moment(NamedTuple):
    """A state of the projection. `snapshot` tells which rows are written later."""

    lanes: dict[Lane, LaneEnd]
    snapshot: str


class LaneSums(NamedTuple):
    """Counts and sums of the accounts of a lane. Sums are decimal strings."""

    accounts: int
    balance: str
    transfers: int
    posted_total: str
    disputed: int


class AccountPair(NamedTuple):
    """An account in the projection and in the shadow, as JSON objects. None: it is not there."""

    account: AccountId
    live: str | None
    shadow: str | None


class QuarantineDifferences(NamedTuple):
    """Numbers of records that only the shadow rejects, and that only the projection does."""

    missing: int
    applied: int
