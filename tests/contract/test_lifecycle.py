"""The records of the lifecycle topic, and the header of a null, keep their form."""

from typing import Any

import pytest

from livebalance.wire.kafka.lifecycle import (
    ERASURE,
    Bound,
    Opened,
    encode_erasure_header,
    encode_lifecycle,
    erasure_bound,
)
from livebalance.wire.kafka.raw_record import RawRecord, Rejected, decode_lifecycle
from tests.contract.vectors import Vector, label, vectors

CASES = vectors("lifecycle")


def decoded(case: Vector) -> Any:
    value = None if case["value"] is None else case["value"].encode()
    return decode_lifecycle(RawRecord("account-lifecycle", 0, 0, 0, case["key"].encode(), value))


def as_json(record: Any) -> Any:
    if isinstance(record, Rejected):
        return None
    if isinstance(record, Opened):
        return {"event": "opened", "amount": str(record.amount)}
    bounds = {name: _bound(getattr(record, name)) for name in ("transfers", "balances")}
    return {"event": "erased", **bounds}


def _bound(bound: Bound | None) -> Any:
    return None if bound is None else [str(bound.topic_id), bound.before]


@pytest.mark.parametrize("case", CASES["records"], ids=label)
def test_value_is_decoded_to_the_expected_record_or_rejected(case: Vector) -> None:
    assert as_json(decoded(case)) == case["record"]


@pytest.mark.parametrize("case", [case for case in CASES["records"] if case.get("canonical")], ids=label)
def test_record_is_encoded_as_it_was_read(case: Vector) -> None:
    assert encode_lifecycle(decoded(case)) == case["value"].encode()


@pytest.mark.parametrize("case", CASES["headers"], ids=label)
def test_header_of_a_null_names_the_expected_bound(case: Vector) -> None:
    header = case["header"]
    bound = erasure_bound([(ERASURE, None if header is None else header.encode())])
    assert _bound(bound) == case["bound"]
    assert bound is None or encode_erasure_header(bound).decode() == header
