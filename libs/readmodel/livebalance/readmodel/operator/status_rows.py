"""The state of the projection and its server, as an operator sees it. Pure."""

from typing import NamedTuple
from uuid import UUID

from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Revision, TransferId
from livebalance.wire.timestamp import Millis


class LaneStatus(NamedTuple):
    """A lane: who claimed it, what is applied, and why it is halted. Offsets are the next to apply."""

    lane: Lane
    owner: str | None
    generation: int
    transfers_next: Offset
    balances_next: Offset
    as_of: Millis | None
    halted_why: str | None
    recorder_halted_why: str | None
    disputed: int
    drifting: int
    unverified: int
    transfers_topic_id: UUID | None
    balances_topic_id: UUID | None


class ServiceStatus(NamedTuple):
    """A process that is connected to the database. `role` is projector, recorder or gateway."""

    role: str
    name: str
    connections: int


class ProjectionStatus(NamedTuple):
    """The projection. `known`: this server is the server that the projection was written to."""

    epoch: Epoch
    known: bool
    partitions: int
    quarantined: int  # records that wait for an operator, or for their replay
    lanes: list[LaneStatus]


class ServerStatus(NamedTuple):
    """A server of Postgres. `now` is its clock."""

    version: str
    role: str
    now: Millis
    standby: bool
    migration: str | None  # None: there is none, or this role may not read it
    missing_rights: list[str]
    services: list[ServiceStatus]


class BegunEpoch(NamedTuple):
    """An operator began an epoch: for all lanes (`lane` is None), or by starting a lane anew."""

    at: Millis
    by: str
    lane: Lane | None
    was: str  # the previous epoch, or why the lane was halted
    became: str
    why: str


class ListedRevocation(NamedTuple):
    """A revocation, with the operator and the reason."""

    id: int
    at: Millis
    subject: str | None
    login: str | None
    account: str | None
    by: str
    why: str


class ExplainedTransfer(NamedTuple):
    """A transfer in the list of an account. Amounts are decimal strings.

    `in_balance`: the balance of the account includes it; None: it is not known yet.
    """

    account: AccountId
    transfer: TransferId
    amount: str
    total: str
    balance_after: str | None
    revision: Revision
    epoch: Epoch
    occurred_at: Millis  # by the producer's clock
    recorded_at: Millis  # Kafka time
    topic: str
    lane: Lane
    offset: Offset
    transaction: str  # of Postgres
    committed_at: Millis | None  # None: Postgres does not keep the times of commits
    in_balance: bool | None
