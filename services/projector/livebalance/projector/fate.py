"""What an error means for the loop. A poison record raises nothing: it is quarantined where it is read."""

from enum import Enum

import asyncpg
from aiokafka.errors import (
    IllegalStateError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)


class FencedError(Exception):
    """Another process owns the lane or wrote the account: what this one knows is thrown away."""


class UnsureError(Exception):
    """The connection died inside COMMIT: whether it happened is found out when the lane is claimed again."""


class Fate(Enum):
    """What the loop does: back off and repeat · throw away and claim again · crash."""

    TRANSIENT = "transient"
    FENCED = "fenced"
    BUG = "bug"


_FENCED = (
    FencedError,
    IllegalStateError,  # aiokafka: this partition is no longer assigned
    NoOffsetForPartitionError,  # aiokafka: nothing was sought under this assignment
    OffsetOutOfRangeError,  # the claim finds out why, and halts the lane
)
_TRANSIENT = (
    UnsureError,
    TimeoutError,
    OSError,
    KafkaConnectionError,
    KafkaTimeoutError,
    asyncpg.InterfaceError,  # the connection is closed, or closing
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, terminated, cancelled
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.TransactionRollbackError,  # deadlock
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not promoted yet
    asyncpg.PostgresIOError,
)


def fate_of(error: BaseException) -> Fate:
    """Of any exception that reached the loop."""
    if isinstance(error, _FENCED):
        return Fate.FENCED
    if isinstance(error, _TRANSIENT) or getattr(error, "retriable", False):
        return Fate.TRANSIENT
    return Fate.BUG
