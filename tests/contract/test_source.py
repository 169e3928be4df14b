"""The headers that name the source of a balance record keep their form."""

from typing import Any

import pytest

from livebalance.wire.kafka.source import Source, fingerprint, parse_source, source_of
from tests.contract.vectors import Vector, label, vectors

CASES = vectors("source")


def as_json(source: Source | int | None) -> Any:
    if isinstance(source, Source):
        return {**source._asdict(), "fingerprint": source.fingerprint.hex()}
    return source


def as_bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


@pytest.mark.parametrize("case", CASES["headers"], ids=label)
def test_headers_of_a_balance_name_the_expected_source(case: Vector) -> None:
    headers = [(name.encode(), as_bytes(value)) for name, value in case["headers"]]
    assert as_json(source_of(headers)) == case["source"]


@pytest.mark.parametrize("case", [case for case in CASES["headers"] if case.get("canonical")], ids=label)
def test_source_is_encoded_as_it_was_read(case: Vector) -> None:
    [header] = [as_bytes(value) for name, value in case["headers"] if name == "source"]
    source = parse_source(header)
    assert source is not None
    assert source.encode() == header


@pytest.mark.parametrize("case", CASES["fingerprints"], ids=label)
def test_record_has_the_expected_fingerprint(case: Vector) -> None:
    digest = fingerprint(as_bytes(case["key"]), as_bytes(case["value"]), case["timestamp"])
    assert digest.hex() == case["fingerprint"]
