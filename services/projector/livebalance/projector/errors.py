"""What an error means for the loop. A poison record raises nothing: it is quarantined where it is read."""

import asyncpg
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from livebalance.readmodel.errors import SERVER_TRANSIENT
from livebalance.runtime.kafka import errors
from livebalance.runtime.kafka.errors import Fate


class FencedError(Exception):
    """Another process owns the lane or wrote the account: what this one knows is thrown away."""


class AlreadyListedError(Exception):
    """A transfer that was taken for new is in the list: nothing was written."""


class CommitUnknownError(Exception):
    """The connection died inside COMMIT: whether it happened is found out when the lane is claimed again."""


_FENCED = (
    FencedError,
    NoOffsetForPartitionError,  # aiokafka: nothing was sought under this assignment
    OffsetOutOfRangeError,  # the claim finds out why, and halts the lane
)
_TRANSIENT = (
    *SERVER_TRANSIENT,
    CommitUnknownError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not promoted yet
)


def fate_of(error: BaseException) -> Fate:
    """Of any exception that reached the loop."""
    if isinstance(error, ValueError):  # asyncpg's InterfaceError of an argument it cannot encode, too
        return Fate.BUG
    if isinstance(error, _FENCED):
        return Fate.FENCED
    return Fate.TRANSIENT if isinstance(error, _TRANSIENT) else errors.fate_of(error)
