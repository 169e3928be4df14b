"""JSON Web Tokens in, rights out: PyJWT checks signature, audience, issuer and times; failures look alike."""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import jwt

from livebalance.gateway.auth.jwks import JwksCache
from livebalance.gateway.auth.rights import LEEWAY, Rights, scope
from livebalance.readmodel.revocations import KEPT
from livebalance.wire.errors import DecodeError
from livebalance.wire.timestamp import MAX_MILLIS, Millis

LONGEST = 8 * 1024  # characters
LONGEST_NAME = 256  # of a subject or login

# What a key is missing for may be right in a moment; whatever else is wrong has one name.
TokenError = Literal["unauthenticated", "token_expired", "revoked", "keys_missing"]

_REQUIRED = ["exp", "iat", "sub", "aud", "iss", "accounts"]
_TYPES = (None, "JWT", "at+jwt", "application/at+jwt")
_OF_ID_TOKENS = ("nonce", "at_hash", "c_hash")  # a token that tells a client who its user is opens nothing


class ExpectedClaims(NamedTuple):
    audience: str
    issuer: str


class TokenVerifier:
    def __init__(self, keys: JwksCache, expected: ExpectedClaims) -> None:
        self._keys = keys
        self._expected = expected

    def check(self, token: str, now: float) -> Rights | TokenError:
        """`now` is of the loop's clock."""
        if len(token) > LONGEST:
            return "unauthenticated"
        try:
            header = _header(token.partition(".")[0])
            if header.get("typ") not in _TYPES:
                return "unauthenticated"
            claims = self._claims(token, header)
            if claims is None:
                return "keys_missing" if self._keys.may_come(now) else "unauthenticated"
            return _rights(claims)
        except jwt.ExpiredSignatureError:
            return "token_expired"
        except (jwt.PyJWTError, DecodeError, ValueError, OverflowError):
            return "unauthenticated"

    def _claims(self, token: str, header: dict[str, Any]) -> dict[str, Any] | None:
        """None: no key of ours is the one it names. Raises PyJWTError."""
        found = None
        for key in self._keys.named(header.get("kid"), header.get("alg")):
            try:
                return self._checked(token, key)
            except jwt.InvalidSignatureError as wrong:
                found = wrong  # without a name, it may be any of them
        if found:
            raise found
        return None

    def _checked(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return self._decoded(token, key, verify_exp=True)
        except jwt.ExpiredSignatureError:
            self._decoded(token, key, verify_exp=False)  # raises what else is wrong with it
            raise

    def _decoded(self, token: str, key: jwt.PyJWK, verify_exp: bool) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self._expected.audience,
            issuer=self._expected.issuer,
            leeway=LEEWAY,
            options={"require": _REQUIRED, "verify_exp": verify_exp},
        )
        return claims


@lru_cache(maxsize=64)  # it is the same of all tokens of a key
def _header(segment: str) -> dict[str, Any]:
    """Of a token that begins with it; nobody vouches for it yet. Raises PyJWTError."""
    return jwt.get_unverified_header(f"{segment}..")


def _rights(claims: dict[str, Any]) -> Rights:
    subject, login = claims["sub"], claims.get("sid", claims.get("jti", ""))
    issued, expires = int(claims["iat"]), int(claims["exp"])
    if any(name in claims for name in _OF_ID_TOKENS) or claims.get("token_use", "access") != "access":
        raise DecodeError("not a token for access")
    if not (isinstance(subject, str) and 0 < len(subject) <= LONGEST_NAME):
        raise DecodeError("no subject")
    if not (isinstance(login, str) and len(login) <= LONGEST_NAME):
        raise DecodeError("no session")
    if expires - issued > KEPT.total_seconds() or not 0 <= expires * 1000 <= MAX_MILLIS:
        raise DecodeError("lives too long")
    return Rights(subject, login, scope(claims["accounts"]), issued, Millis(expires * 1000))
