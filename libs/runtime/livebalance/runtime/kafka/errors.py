"""What an error of Kafka means for the loop."""

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
    IllegalOperation,  # what a producer says after its transaction was taken from it
    IllegalStateError,  # what a consumer says of a partition that is no longer assigned
)
_TRANSIENT = (
    TimeoutError,
    OSError,
    KafkaConnectionError,
    KafkaTimeoutError,
    UnknownError,  # an accident inside the broker: a commit may meet the fencing of its producer (seen)
)


class Fate(Enum):
    """Poison has no error here: a record that may not be applied is skipped where it is read."""

    TRANSIENT = "transient"  # nothing was committed, or it will be found out: back off, claim again, repeat
    FENCED = "fenced"  # another owner: throw the work away, claim again if still assigned
    BUG = "bug"


def fate_of(error: BaseException) -> Fate:
    """Of an error, or of the one it wraps."""
    if isinstance(error, _FENCED):
        return Fate.FENCED
    if isinstance(error, _TRANSIENT) or getattr(error, "retriable", False):
        return Fate.TRANSIENT
    return fate_of(error.__cause__) if error.__cause__ else Fate.BUG
