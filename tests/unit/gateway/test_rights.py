"""Who may see what: scopes, tokens, and what was taken back."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.auth.jwks import JwksCache, parse_keys, secret_key
from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.auth.tokens import MAX_TOKEN_CHARACTERS, ExpectedClaims, TokenVerifier
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis
from tests.tokens import AUDIENCE, ISSUER, SECRET, claims, sign
from tests.unit.wire.samples import accounts

EXPECTED = ExpectedClaims(AUDIENCE, ISSUER)
ALICE, BOB = AccountId("alice"), AccountId("bob")

# --- scopes


@given(accounts, st.integers(0, 64))
def test_a_prefix_covers_what_starts_with_it(account: AccountId, length: int) -> None:
    assert parse_scope([f"{account[:length]}*"]).covers(account)
    assert parse_scope([account]).covers(account)
    assert not parse_scope([]).covers(account)


@given(accounts, accounts)
def test_an_id_covers_nothing_else(mine: AccountId, other: AccountId) -> None:
    assert parse_scope([mine]).covers(other) == (mine == other)
    assert parse_scope([f"{mine}*"]).covers(other) == other.startswith(mine)


@pytest.mark.parametrize(
    "claim", [None, "*", {"a": 1}, [1], ["a b"], ["**"], ["*a"], [""], ["x" * 65], ["é"]]
)
def test_what_is_no_scope_gives_no_rights(claim: object) -> None:
    with pytest.raises(DecodeError):
        parse_scope(claim)


def test_what_a_list_may_show() -> None:
    some = parse_scope(["alice", "bob", "EU-*", "E*"])
    assert some.narrow("") == (["alice", "bob"], ["E", "EU-"])
    assert some.narrow("EU-1") == ([], ["EU-1"])
    assert some.narrow("b") == (["bob"], [])
    assert parse_scope([]).narrow("") == ([], [])


# --- tokens

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, id_: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": id_}


SET = {"keys": [public(RSA_KEY, "rsa-1"), public(EC_KEY, "ec-1")]}
TOKENS = TokenVerifier(JwksCache([secret_key(SECRET, "demo"), *parse_keys(SET)], None), EXPECTED)


def check(token: str) -> Rights | str:
    return TOKENS.check(token, 0.0)


def made(key: Any, algorithm: str, id_: str | None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, {"kid": id_} if id_ else None)


@pytest.mark.parametrize(
    "token",
    [
        made(SECRET, "HS256", "demo"),
        made(RSA_KEY, "RS256", "rsa-1"),
        made(EC_KEY, "ES256", "ec-1"),
        made(EC_KEY, "ES256", None),
    ],
)
def test_each_algorithm_by_its_own_key(token: str) -> None:
    rights = check(token)
    assert isinstance(rights, Rights)
    assert rights.scope.covers(ALICE)


def test_what_a_token_gives() -> None:
    given_ = claims(sub="me", sid="login", accounts=["EU-*"])
    rights = check(sign(given_))
    assert rights == Rights("me", "login", parse_scope(["EU-*"]), given_["iat"], Millis(given_["exp"] * 1000))


PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
FOREIGN = rsa.generate_private_key(65537, 2048)
NOW = int(time.time())


def confused() -> str:
    """Signed by HS256 with the text of a public key, as one who takes any algorithm would check it."""
    head, body = (part.rstrip("=") for part in made("x" * 32, "HS256", "rsa-1").split(".")[:2])
    text = f"{head}.{body}".encode()
    mark = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(text, PEM.encode())
    return f"{head}.{body}.{jwt.utils.base64url_encode(mark).decode()}"


def headed(**header: Any) -> str:
    return jwt.encode(claims(), FOREIGN, "RS256", header)


UNAUTHENTICATED = {
    "not a token": "abc",
    "nothing": "",
    "two parts": "a.b",
    "too long": "a" * (MAX_TOKEN_CHARACTERS + 1),
    "forged": made("another secret, long enough as well", "HS256", "demo"),
    "no signature": jwt.encode(claims(), "", "none"),
    "a public key as a secret": confused(),
    "another algorithm": made(SECRET * 2, "HS512", "demo"),
    "a key of its own": headed(kid="rsa-1", jwk=public(FOREIGN, "rsa-1")),
    "an address of keys": headed(kid="rsa-1", jku="https://elsewhere.example/keys"),
    "a key nobody knows": headed(kid="rsa-9"),
    "a key of another kind": made(SECRET, "HS256", "ec-1"),
    "not yet": sign(claims(nbf=NOW + 3600)),
    "issued in the future": sign(claims(iat=NOW + 3600, exp=NOW + 7200)),
    "another audience": sign(claims(aud="shop")),
    "another issuer": sign(claims(iss="somebody")),
    "past its time, and of another audience": sign(claims(exp=NOW - 3600, aud="shop")),
    "no audience": sign({k: v for k, v in claims().items() if k != "aud"}),
    "no end": sign({k: v for k, v in claims().items() if k != "exp"}),
    "no accounts": sign({k: v for k, v in claims().items() if k != "accounts"}),
    "accounts that are none": sign(claims(accounts="*")),
    "an id token": sign(claims(nonce="n")),
    "an id token by its type": jwt.encode(claims(), SECRET, "HS256", {"kid": "demo", "typ": "id+jwt"}),
    "for ever": sign(claims(exp=NOW + 40 * 24 * 3600)),
    "an end beyond time": sign(claims(exp=10**18, iat=10**18 - 1)),
    "a subject that is no text": jwt.encode({**claims(), "sub": "x" * 300}, SECRET, "HS256"),
}


@pytest.mark.parametrize("name", UNAUTHENTICATED)
def test_all_that_is_wrong_with_a_token_looks_alike(name: str) -> None:
    assert check(UNAUTHENTICATED[name]) == "unauthenticated"


def test_only_one_that_was_good_is_past_its_time() -> None:
    assert check(sign(claims(exp=NOW - LEEWAY - 10))) == "token_expired"


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    late = check(sign(claims(exp=now - LEEWAY + 30)))
    assert isinstance(late, Rights)
    assert late.ends_at(Millis(now * 1000)) == late.expires + LEEWAY * 1000
    assert isinstance(check(sign(claims(nbf=now + LEEWAY - 10, iat=now + LEEWAY - 10))), Rights)


@given(st.text() | st.binary().map(lambda raw: jwt.utils.base64url_encode(raw).decode()))
def test_whatever_is_shown_is_answered(text: str) -> None:
    assert check(text) == "unauthenticated"
    head, _, mark = sign(claims()).split(".")
    assert check(f"{head}.{text}.{mark}") == "unauthenticated"


def test_keys_that_are_for_something_else_are_left_out() -> None:
    odd = [
        {"kty": "OKP"},
        {"kty": "RSA", "use": "enc", "n": "AQ", "e": "AQ"},
        "x",
        {"kty": "EC", "crv": "P-256"},
    ]
    assert [key.key_id for key in parse_keys({"keys": [*odd, *SET["keys"]]})] == ["rsa-1", "ec-1"]
    bad_sets: list[Any] = [None, [], {"keys": 1}, {"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}]
    for bad in bad_sets:
        with pytest.raises(ValueError, match=r"."):
            parse_keys(bad)
    with pytest.raises(ValueError, match="32"):
        secret_key("short", "demo")


# --- what was taken back

AT = Millis(NOW * 1000)


def rights(subject: str = "me", login: str = "login", issued: int = NOW) -> Rights:
    return Rights(subject, login, parse_scope(["*"]), issued, Millis(AT + 3_600_000))


@pytest.mark.parametrize(
    ("revocation", "ended", "hidden"),
    [
        (Revocation("me", None, None, AT), True, []),
        (Revocation(None, "login", None, AT), True, []),
        (Revocation("me", "login", None, AT), True, []),
        (Revocation("you", None, None, AT), False, []),
        (Revocation("me", "another", None, AT), False, []),
        (Revocation(None, None, ALICE, AT), False, [ALICE]),
        (Revocation("me", None, ALICE, AT), False, [ALICE]),
        (Revocation("you", None, ALICE, AT), False, []),
        (Revocation("me", "login", BOB, AT), False, [BOB]),
    ],
)
def test_a_revocation_concerns_who_has_all_it_names(
    revocation: Revocation, ended: bool, hidden: list[AccountId]
) -> None:
    some = Revocations()
    assert not some.revokes(rights())
    assert some.add([revocation]) == [revocation]
    assert some.revokes(rights()) is ended
    assert [one for one in (ALICE, BOB) if some.hides(rights(), one)] == hidden


def test_a_token_of_later_is_good_again() -> None:
    some = Revocations()
    some.add([Revocation("me", None, None, AT)])
    assert some.revokes(rights(issued=NOW + LEEWAY))
    assert not some.revokes(rights(issued=NOW + LEEWAY + 1))
    assert some.add([Revocation("me", None, None, Millis(AT - 5000))]) == []
    assert some.revokes(rights(issued=NOW + LEEWAY))
