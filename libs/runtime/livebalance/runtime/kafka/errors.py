"""Classifies errors of Kafka clients: what the loop of a service does about them."""

from enum import Enum

from aiokafka.errors import (
    IllegalOperation,
    IllegalStateError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownError,
    UnknownProducerId,
)

_FENCED = (
    ProducerFenced,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    UnknownProducerId,
    IllegalOperation,  # raised by a producer whose transaction another producer has ended
    IllegalStateError,  # raised by a consumer for a partition that is no longer assigned
)
_TRANSIENT = (
    TimeoutError,
    OSError,
    KafkaConnectionError,
    KafkaTimeoutError,
    UnknownError,  # seen when a commit and the fencing of its producer met inside the broker
)


class Fate(Enum):
    """What a loop does after an error.

    A record that cannot be applied is not an error: it is skipped where it is read.
    """

    TRANSIENT = "transient"  # back off, claim again and repeat; the claim finds out what was committed
    FENCED = "fenced"  # another owner: discard the work, claim again if still assigned
    BUG = "bug"  # end the process with a traceback


def fate_of(error: BaseException) -> Fate:
    """Returns the fate of an error. An error that is not known has the fate of its cause."""
    if isinstance(error, _FENCED):
        return Fate.FENCED
    if isinstance(error, _TRANSIENT) or getattr(error, "retriable", False):
        return Fate.TRANSIENT
    return fate_of(error.__cause__) if error.__cause__ else Fate.BUG
