import pytest

from livebalance.wire.kafka.record import Record, rejection_reason
from tests.contract.records import balance, transfer
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("admissible")


def reason(case: Vector, record: Record) -> str | None:
    return rejection_reason(record, None if case["key"] is None else case["key"].encode())


@pytest.mark.parametrize("case", VECTORS["transfers"], ids=label)
def test_transfer_has_the_expected_rejection_reason(case: Vector) -> None:
    assert reason(case, transfer(case)) == case["refused"]


@pytest.mark.parametrize("case", VECTORS["balances"], ids=label)
def test_balance_has_the_expected_rejection_reason(case: Vector) -> None:
    assert reason(case, balance(case)) == case["refused"]
