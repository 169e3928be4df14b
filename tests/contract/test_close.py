import pytest

from livebalance.wire.close import Close, comes_back, retry_after_ms
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("close")


@pytest.mark.parametrize("case", VECTORS["codes"], ids=label)
def test_a_code_says_whether_to_come_back(case: Vector) -> None:
    assert comes_back(case["code"]) is case["comes_back"]


def test_every_code_we_close_with_is_in_the_vectors() -> None:
    named = {case["name"]: case["code"] for case in VECTORS["codes"]}
    assert {code.name: code.value for code in Close}.items() <= named.items()


@pytest.mark.parametrize("case", VECTORS["reasons"], ids=label)
def test_a_reason_says_how_long_to_wait(case: Vector) -> None:
    assert retry_after_ms(case["reason"]) == case["retry_after_ms"]
