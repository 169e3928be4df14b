import contextlib
from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.errors import DecodeError
from livebalance.wire.money import Money, money, of_decimal
from tests.unit.wire import samples

EXACT = Context(prec=200)


@given(samples.amounts)
def test_an_amount_comes_back(amount: Money) -> None:
    assert money(str(amount)) == amount
    assert of_decimal(amount.decimal) == amount
    assert Decimal(str(amount)) == amount.decimal


@given(samples.amounts, samples.amounts)
def test_sums_and_differences_are_those_of_exact_decimals(a: Money, b: Money) -> None:
    assert a.plus(b).decimal == EXACT.add(a.decimal, b.decimal)
    assert a.minus(b).decimal == EXACT.subtract(a.decimal, b.decimal)
    assert a.plus(b).scale == max(a.scale, b.scale)
    assert a.same_value(b) == (a.decimal == b.decimal)


@given(samples.amounts, samples.amounts, samples.amounts)
def test_the_order_of_a_sum_does_not_matter(a: Money, b: Money, c: Money) -> None:
    assert a.plus(b).plus(c) == c.plus(a.plus(b)) == a.plus(b.plus(c))


@given(st.text(max_size=70) | st.text("-+.0123456789eE_ ", max_size=70))
def test_any_text_is_an_amount_or_a_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert str(money(text)) == text


def test_a_smaller_scale_would_round() -> None:
    with pytest.raises(ValueError, match="round"):
        Money(125, 2).at_scale(1)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        of_decimal(Decimal(text))
