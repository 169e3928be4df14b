import pytest

from livebalance.wire.errors import DecodeError
from livebalance.wire.money import Money, parse_money
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("money")


@pytest.mark.parametrize("case", VECTORS["valid"], ids=label)
def test_valid_text_parses_to_its_amount_and_back(case: Vector) -> None:
    amount = Money(int(case["unscaled"]), case["scale"])
    assert parse_money(case["text"]) == amount
    assert str(amount) == case["text"]


@pytest.mark.parametrize("text", VECTORS["invalid"], ids=label)
def test_invalid_text_is_rejected(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_money(text)


@pytest.mark.parametrize("case", VECTORS["sums"], ids=label)
def test_sum_is_exact(case: Vector) -> None:
    a, b = parse_money(case["a"]), parse_money(case["b"])
    assert str(a.add(b)) == str(b.add(a)) == case["sum"]
    assert parse_money(case["sum"]).subtract(b).same_value(a)


@pytest.mark.parametrize("case", VECTORS["same_value"], ids=label)
def test_same_value_ignores_the_scale(case: Vector) -> None:
    assert parse_money(case["a"]).same_value(parse_money(case["b"])) is case["same"]
