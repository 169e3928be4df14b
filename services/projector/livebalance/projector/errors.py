"""Classifies errors for the projector's loop.

A record that cannot be applied raises nothing: it is quarantined (docs/errors.md#quarantined-records).
"""

import asyncpg
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from livebalance.runtime.kafka import errors
from livebalance.runtime.kafka.errors import Fate


class FencedError(Exception):
    """Another process owns the lane or wrote the account. The batch and the cached state are discarded."""


class AlreadyListedError(Exception):
    """A transfer that was assumed to be new is already listed. Nothing was written (decision 9)."""


class CommitUnknownError(Exception):
    """The connection was lost during COMMIT. The next claim of the lane shows the outcome (decision 8)."""


_FENCED = (
    FencedError,
    NoOffsetForPartitionError,  # aiokafka: there was no seek under this assignment
    OffsetOutOfRangeError,  # the next claim finds the reason and halts the lane
)
_TRANSIENT = (
    CommitUnknownError,
    asyncpg.InterfaceError,  # the connection is closed or closing
    asyncpg.InternalClientError,  # the connection was terminated while the driver was about to use it
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
    """Returns what an exception means for the loop: transient, fenced, or a bug."""
    if isinstance(error, ValueError):  # also asyncpg's InterfaceError for an argument that it cannot encode
        return Fate.BUG
    if isinstance(error, _FENCED):
        return Fate.FENCED
    return Fate.TRANSIENT if isinstance(error, _TRANSIENT) else errors.fate_of(error)
