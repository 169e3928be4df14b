"""Which errors are transient, which fence a projector, and which are bugs."""

import asyncpg
import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaConnectionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from livebalance.projector.errors import CommitUnknownError, FencedError, fate_of
from livebalance.projector.postgres.epoch import StandbyError
from livebalance.runtime.kafka.errors import Fate


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (FencedError(), Fate.FENCED),
        (IllegalStateError(), Fate.FENCED),
        (OffsetOutOfRangeError(), Fate.FENCED),
        (CommitUnknownError(), Fate.TRANSIENT),
        (TimeoutError(), Fate.TRANSIENT),
        (ConnectionResetError(), Fate.TRANSIENT),
        (StandbyError(), Fate.TRANSIENT),
        (KafkaConnectionError(), Fate.TRANSIENT),
        (UnknownTopicOrPartitionError(), Fate.TRANSIENT),
        (asyncpg.AdminShutdownError(""), Fate.TRANSIENT),
        (asyncpg.CannotConnectNowError(""), Fate.TRANSIENT),
        (asyncpg.DiskFullError(""), Fate.TRANSIENT),
        (asyncpg.ConnectionDoesNotExistError(""), Fate.TRANSIENT),
        (asyncpg.LockNotAvailableError(""), Fate.TRANSIENT),
        (asyncpg.DeadlockDetectedError(""), Fate.TRANSIENT),
        (asyncpg.InterfaceError(""), Fate.TRANSIENT),
        (asyncpg.InternalClientError(""), Fate.TRANSIENT),
        (asyncpg.UniqueViolationError(""), Fate.BUG),
        (asyncpg.UndefinedTableError(""), Fate.BUG),
        (GroupAuthorizationFailedError(), Fate.BUG),
        (AssertionError(), Fate.BUG),
        (KeyError(), Fate.BUG),
        (asyncpg.exceptions.DataError(""), Fate.BUG),
        (type("Unencodable", (asyncpg.InterfaceError, ValueError), {})(""), Fate.BUG),
    ],
)
def test_fate_of_error_is_its_class(error: Exception, fate: Fate) -> None:
    assert fate_of(error) is fate
