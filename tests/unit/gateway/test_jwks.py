from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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


def test_secret_that_is_a_public_key_raises() -> None:
    """Whoever has the public key could sign tokens with it."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="public key"):
        secret_key(pem.decode(), "demo")


def test_token_that_a_secret_signed_is_verified_with_it() -> None:
    secrets = ["a secret of at least 32 characters", "another of at least 32 characters"]
    token = jwt.encode({"sub": "subject"}, secrets[0], "HS256")
    right, wrong = (secret_key(secret, "demo") for secret in secrets)
    assert jwt.decode(token, right, ["HS256"]) == {"sub": "subject"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, wrong, ["HS256"])
