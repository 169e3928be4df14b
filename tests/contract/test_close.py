import json

import pytest

from livebalance.wire.close import (
    _MESSAGES,
    MAX_REASON_BYTES,
    CloseCode,
    encode_reason,
    retry_after_ms,
    should_reconnect,
)
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("close")


@pytest.mark.parametrize("case", VECTORS["codes"], ids=label)
def test_code_decides_whether_to_reconnect(case: Vector) -> None:
    assert should_reconnect(case["code"]) is case["comes_back"]


def test_every_close_code_is_in_the_vectors() -> None:
    vectors_by_name = {case["name"]: case["code"] for case in VECTORS["codes"]}
    assert {code.name: code.value for code in CloseCode}.items() <= vectors_by_name.items()


@pytest.mark.parametrize("case", VECTORS["reasons"], ids=label)
def test_reason_gives_its_wait(case: Vector) -> None:
    assert retry_after_ms(case["reason"]) == case["retry_after_ms"]


@pytest.mark.parametrize("code", [*_MESSAGES, "code_without_a_message"])
def test_encoded_reason_fits_and_gives_its_wait(code: str) -> None:
    for wait in (None, 0, 3_600_000):
        text = encode_reason(code, wait)
        assert len(text.encode()) <= MAX_REASON_BYTES
        assert json.loads(text)["code"] == code
        assert json.loads(text).get("message", "") == _MESSAGES.get(code, "")
        assert retry_after_ms(text) == wait


def test_message_that_does_not_fit_is_left_out() -> None:
    assert json.loads(encode_reason("busy", 5, "\u00fc" * 100)) == {"code": "busy", "retry_after_ms": 5}
