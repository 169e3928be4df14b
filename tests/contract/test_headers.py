import pytest

from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka.headers import Headers, decode_headers, encode_headers
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("headers")


def headers(case: Vector) -> Headers:
    pairs = case["headers"]
    return tuple(
        (bytes.fromhex(name), None if value is None else bytes.fromhex(value)) for name, value in pairs
    )


@pytest.mark.parametrize("case", VECTORS["headers"], ids=label)
def test_headers_are_encoded_as_expected(case: Vector) -> None:
    assert encode_headers(headers(case)).hex() == case["encoded"]


@pytest.mark.parametrize("case", VECTORS["headers"], ids=label)
def test_encoded_headers_are_decoded_unchanged(case: Vector) -> None:
    assert decode_headers(bytes.fromhex(case["encoded"])) == headers(case)


@pytest.mark.parametrize("case", VECTORS["refused"], ids=label)
def test_other_bytes_are_rejected(case: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_headers(bytes.fromhex(case["encoded"]))
