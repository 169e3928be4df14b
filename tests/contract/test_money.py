from decimal import Decimal

import pytest

from livebalance.wire.errors import DecodeError
from livebalance.wire.money import Money, money, of_decimal
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("money")


@pytest.mark.parametrize("case", VECTORS["valid"], ids=label)
def test_a_valid_text_is_its_amount_and_back(case: Vector) -> None:
    amount = Money(int(case["unscaled"]), case["scale"])
    assert money(case["text"]) == amount
    assert str(amount) == case["text"]
    assert of_decimal(Decimal(case["text"])) == amount
    assert of_decimal(amount.decimal) == amount


@pytest.mark.parametrize("text", VECTORS["invalid"], ids=label)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        money(text)


@pytest.mark.parametrize("case", VECTORS["sums"], ids=label)
def test_sums_are_exact(case: Vector) -> None:
    a, b = money(case["a"]), money(case["b"])
    assert str(a.plus(b)) == str(b.plus(a)) == case["sum"]
    assert money(case["sum"]).minus(b).same_value(a)


@pytest.mark.parametrize("case", VECTORS["same_value"], ids=label)
def test_worth_does_not_depend_on_scale(case: Vector) -> None:
    assert money(case["a"]).same_value(money(case["b"])) is case["same"]
