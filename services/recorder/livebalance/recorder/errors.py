"""Classifies errors for the recorder's loop."""

import sqlite3

import asyncpg
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from livebalance.readmodel.errors import TRANSIENT
from livebalance.runtime.kafka import errors
from livebalance.runtime.kafka.errors import Fate

_FENCED = (
    NoOffsetForPartitionError,  # aiokafka: there was no seek under this assignment
    OffsetOutOfRangeError,  # the next claim finds the reason and halts the partition
)
_TRANSIENT = (
    *TRANSIENT,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not promoted yet
    sqlite3.DatabaseError,  # the file is deleted, and the next claim restores the accounts from Kafka
)


def fate_of(error: BaseException) -> Fate:
    """Returns what an exception means for the loop: transient, fenced, or a bug."""
    if isinstance(
        error, ValueError | sqlite3.ProgrammingError
    ):  # also asyncpg's InterfaceError for an argument that it cannot encode
        return Fate.BUG
    if isinstance(error, _FENCED):
        return Fate.FENCED
    return Fate.TRANSIENT if isinstance(error, _TRANSIENT) else errors.fate_of(error)
