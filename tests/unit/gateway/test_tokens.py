import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.auth.jwks import JwksCache, parse_keys, secret_key
from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.auth.tokens import MAX_TOKEN_CHARACTERS, ExpectedClaims, TokenVerifier
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis
from tests.tokens import AUDIENCE, ISSUER, SECRET, claims, sign
from tests.unit.gateway.keys import (
    EC_KEY,
    FOREIGN_KEY,
    KEY_SET,
    RSA_KEY,
    encode,
    public_jwk,
    signed_with_the_public_key,
)

KEYS = JwksCache([secret_key(SECRET, "demo"), *parse_keys(KEY_SET)], None)
VERIFIER = TokenVerifier(KEYS, ExpectedClaims(AUDIENCE, ISSUER))


def check(token: str) -> Rights | str:
    return VERIFIER.check(token, 0.0)


@pytest.mark.parametrize(
    "token",
    [
        encode(SECRET, "HS256", "demo"),
        encode(RSA_KEY, "RS256", "rsa-1"),
        encode(EC_KEY, "ES256", "ec-1"),
        encode(EC_KEY, "ES256", None),
    ],
)
def test_token_of_each_algorithm_is_verified_with_its_key(token: str) -> None:
    rights = check(token)
    assert isinstance(rights, Rights)
    assert rights.scope.covers(AccountId("alice"))


def test_rights_have_the_claims_of_the_token() -> None:
    payload = claims(sub="me", sid="login", accounts=["EU-*"])
    expires = Millis(payload["exp"] * 1000)
    assert check(sign(payload)) == Rights("me", "login", parse_scope(["EU-*"]), payload["iat"], expires)


NOW = int(time.time())


def signed_by_a_foreign_key(**header: Any) -> str:
    return jwt.encode(claims(), FOREIGN_KEY, "RS256", header)


def without(claim: str) -> str:
    return sign({name: value for name, value in claims().items() if name != claim})


UNAUTHENTICATED = {
    "not a token": "abc",
    "empty": "",
    "two parts": "a.b",
    "too long": "a" * (MAX_TOKEN_CHARACTERS + 1),
    "another secret": encode("another secret, long enough as well", "HS256", "demo"),
    "no signature": jwt.encode(claims(), "", "none"),
    "a public key as a secret": signed_with_the_public_key(),
    "another algorithm": encode(SECRET * 2, "HS512", "demo"),
    "a key in its header": signed_by_a_foreign_key(kid="rsa-1", jwk=public_jwk(FOREIGN_KEY, "rsa-1")),
    "a URL of keys in its header": signed_by_a_foreign_key(kid="rsa-1", jku="https://elsewhere.example/keys"),
    "an unknown key": signed_by_a_foreign_key(kid="rsa-9"),
    "a key of another kind": encode(SECRET, "HS256", "ec-1"),
    "not valid yet": sign(claims(nbf=NOW + 3600)),
    "issued in the future": sign(claims(iat=NOW + 3600, exp=NOW + 7200)),
    "another audience": sign(claims(aud="shop")),
    "another issuer": sign(claims(iss="somebody")),
    "expired, with another audience": sign(claims(exp=NOW - 3600, aud="shop")),
    "no audience": without("aud"),
    "no expiry": without("exp"),
    "no accounts": without("accounts"),
    "invalid accounts": sign(claims(accounts="*")),
    "an ID token": sign(claims(nonce="n")),
    "an ID token by its type": jwt.encode(claims(), SECRET, "HS256", {"kid": "demo", "typ": "id+jwt"}),
    "valid for too long": sign(claims(exp=NOW + 40 * 24 * 3600)),
    "an expiry beyond the calendar": sign(claims(exp=10**18, iat=10**18 - 1)),
    "a subject that is too long": jwt.encode({**claims(), "sub": "x" * 300}, SECRET, "HS256"),
}


@pytest.mark.parametrize("name", UNAUTHENTICATED)
def test_invalid_token_is_unauthenticated_whatever_the_defect(name: str) -> None:
    assert check(UNAUTHENTICATED[name]) == "unauthenticated"


def test_expired_token_that_was_valid_has_its_own_error() -> None:
    assert check(sign(claims(exp=NOW - LEEWAY - 10))) == "token_expired"


def test_token_within_the_leeway_of_clocks_is_valid() -> None:
    now = int(time.time())
    rights = check(sign(claims(exp=now - LEEWAY + 30)))
    assert isinstance(rights, Rights)
    assert rights.ends_at(Millis(now * 1000)) == rights.expires + LEEWAY * 1000
    assert isinstance(check(sign(claims(nbf=now + LEEWAY - 10, iat=now + LEEWAY - 10))), Rights)


def test_valid_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    token, rights = (signed := sign(claims())), check(signed)
    monkeypatch.setattr(jwt, "decode", None)
    assert check(token) is rights


def test_invalid_token_is_verified_again_each_time() -> None:
    token = encode(EC_KEY, "ES256", "later")
    keys = JwksCache(parse_keys({"keys": [public_jwk(RSA_KEY, "rsa-1")]}), None)
    verifier = TokenVerifier(keys, ExpectedClaims(AUDIENCE, ISSUER))
    assert verifier.check(token, 0.0) == "unauthenticated"
    keys._own = tuple(parse_keys({"keys": [public_jwk(EC_KEY, "later")]}))
    assert isinstance(verifier.check(token, 0.0), Rights)


def test_known_token_that_expires_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    expires = int(time.time()) + 600
    token = sign(claims(exp=expires))
    assert isinstance(check(token), Rights)
    later = datetime.fromtimestamp(expires + LEEWAY, UTC)
    monkeypatch.setattr("livebalance.gateway.auth.tokens.time", SimpleNamespace(time=later.timestamp))
    monkeypatch.setattr("jwt.api_jwt.datetime", SimpleNamespace(now=lambda tz: later))
    assert check(token) == "token_expired"


@given(st.text() | st.binary().map(lambda raw: jwt.utils.base64url_encode(raw).decode()))
def test_random_token_or_body_is_unauthenticated(text: str) -> None:
    assert check(text) == "unauthenticated"
    header, _, signature = sign(claims()).split(".")
    assert check(f"{header}.{text}.{signature}") == "unauthenticated"
