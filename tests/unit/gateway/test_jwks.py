from typing import Any

import pytest

from livebalance.gateway.auth.jwks import parse_keys, secret_key
from tests.unit.gateway.keys import KEY_SET


def test_parse_keys_leaves_out_keys_for_other_uses() -> None:
    others = [
        {"kty": "OKP"},
        {"kty": "RSA", "use": "enc", "n": "AQ", "e": "AQ"},
        "x",
        {"kty": "EC", "crv": "P-256"},
    ]
    assert [key.key_id for key in parse_keys({"keys": [*others, *KEY_SET["keys"]]})] == ["rsa-1", "ec-1"]


@pytest.mark.parametrize("key_set", [None, [], {"keys": 1}, {"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}])
def test_parse_keys_of_an_invalid_set_raises(key_set: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_keys(key_set)


def test_secret_key_that_is_too_short_raises() -> None:
    with pytest.raises(ValueError, match="32"):
        secret_key("short", "demo")
