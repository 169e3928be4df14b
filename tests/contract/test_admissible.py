import pytest

from livebalance.wire.kafka.record import Record, rejection_reason
from tests.contract.records import balance, transfer
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("admissible")


def refusal(case: Vector, record: Record) -> str | None:
    return rejection_reason(record, None if case["key"] is None else case["key"].encode())


@pytest.mark.parametrize("case", VECTORS["transfers"], ids=label)
def test_which_transfers_may_be_applied(case: Vector) -> None:
    assert refusal(case, transfer(case)) == case["refused"]


@pytest.mark.parametrize("case", VECTORS["balances"], ids=label)
def test_which_balances_may_be_applied(case: Vector) -> None:
    assert refusal(case, balance(case)) == case["refused"]
