import contextlib
from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.errors import DecodeError
from livebalance.wire.money import Money, parse_money
from tests.unit.wire import samples

EXACT = Context(prec=200)


def decimal(amount: Money) -> Decimal:
    return Decimal(str(amount))


@given(samples.amounts)
def test_amount_round_trips(amount: Money) -> None:
    assert parse_money(str(amount)) == amount


@given(samples.amounts)
def test_text_of_an_amount_is_its_exact_value(amount: Money) -> None:
    assert decimal(amount) == Decimal(amount.unscaled).scaleb(-amount.scale, context=EXACT)


@given(samples.amounts, samples.amounts)
def test_sum_and_difference_equal_those_of_exact_decimals(a: Money, b: Money) -> None:
    assert decimal(a.add(b)) == EXACT.add(decimal(a), decimal(b))
    assert decimal(a.subtract(b)) == EXACT.subtract(decimal(a), decimal(b))
    assert a.add(b).scale == max(a.scale, b.scale)
    assert a.same_value(b) == (decimal(a) == decimal(b))


@given(samples.amounts, samples.amounts, samples.amounts)
def test_addition_is_commutative_and_associative(a: Money, b: Money, c: Money) -> None:
    assert a.add(b).add(c) == c.add(a.add(b)) == a.add(b.add(c))


@given(st.text(max_size=70) | st.text("-+.0123456789eE_ ", max_size=70))
def test_random_text_is_an_amount_or_raises_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert str(parse_money(text)) == text


def test_larger_scale_keeps_the_value_and_a_smaller_scale_is_rejected() -> None:
    assert Money(125, 2).at_scale(4) == Money(12_500, 4)
    assert Money(125, 2).at_scale(2) == Money(125, 2)
    with pytest.raises(ValueError, match=r"^a smaller scale would round$"):
        Money(125, 2).at_scale(1)


def test_amount_may_have_64_characters() -> None:
    assert parse_money("1" * 64) == Money(int("1" * 64), 0)


@pytest.mark.parametrize("text", ["1" * 65, "-0", "x"])
def test_invalid_amount_has_a_reason(text: str) -> None:
    with pytest.raises(DecodeError, match=r"^invalid amount$"):
        parse_money(text)
