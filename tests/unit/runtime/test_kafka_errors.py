import pytest
from aiokafka.errors import (
    IllegalOperation,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    NotLeaderForPartitionError,
    ProducerFenced,
    UnknownError,
)

from livebalance.runtime.kafka.errors import Fate, fate_of


@pytest.mark.parametrize("error", [ProducerFenced(), InvalidTxnState(), IllegalOperation("no transaction")])
def test_error_of_another_owner_is_fenced(error: Exception) -> None:
    assert fate_of(error) is Fate.FENCED


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        KafkaConnectionError(),
        NotLeaderForPartitionError(),
        UnknownError(),
    ],
)
def test_error_that_passes_is_transient(error: Exception) -> None:
    assert fate_of(error) is Fate.TRANSIENT


@pytest.mark.parametrize("error", [KafkaError("?"), AssertionError(), ValueError(), KeyError()])
def test_other_error_is_a_bug(error: Exception) -> None:
    assert fate_of(error) is Fate.BUG


def test_wrapped_error_has_the_fate_of_its_cause() -> None:
    error = KafkaError("Unexpected error during batch delivery")
    error.__cause__ = InvalidTxnState()
    assert fate_of(error) is Fate.FENCED
