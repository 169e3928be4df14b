"""Verifies JSON Web Tokens with PyJWT: signature, audience, issuer and times (RFC 7519)."""

import time
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import jwt

from livebalance.gateway.auth.jwks import JwksCache
from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.auth.token_cache import TokenCache
from livebalance.readmodel.revocations import RETENTION
from livebalance.wire.errors import DecodeError
from livebalance.wire.timestamp import MAX_MILLIS, Millis

MAX_TOKEN_CHARACTERS = 8 * 1024
MAX_NAME_CHARACTERS = 256  # of a subject or login

# `keys_missing` is temporary: the key may be published soon. A token with any other defect is
# `unauthenticated`.
TokenError = Literal["unauthenticated", "token_expired", "revoked", "keys_missing"]

_REQUIRED = ["exp", "iat", "sub", "aud", "iss", "accounts"]
_TYPES = (None, "JWT", "at+jwt", "application/at+jwt")
_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")  # an ID token identifies a user, and gives no access


class ExpectedClaims(NamedTuple):
    """The claims `aud` and `iss` that a token must have."""

    audience: str
    issuer: str


class TokenVerifier:
    """Verifies tokens against keys and expected claims, a valid token once while the keys are the same."""

    def __init__(self, keys: JwksCache, expected: ExpectedClaims) -> None:
        self._keys = keys
        self._expected = expected
        self._cache = TokenCache()

    def check(self, token: str, now: float) -> Rights | TokenError:
        """Returns the rights of a token, or why it is rejected. `now` is the event loop's time in seconds."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return "unauthenticated"
        generation = self._keys.generation
        if known := self._cache.get(token, generation, Millis(int(time.time() * 1000))):
            return known
        rights = self._check_uncached(token, now)
        if isinstance(rights, Rights):
            self._cache.put(token, rights, generation)
        return rights

    def _check_uncached(self, token: str, now: float) -> Rights | TokenError:
        try:
            header = _header(token.partition(".")[0])
            if header.get("typ") not in _TYPES:
                return "unauthenticated"
            claims = self._verify(token, header)
            if claims is None:
                may_be_published = self._keys.request_refresh(header.get("kid"), header.get("alg"), now)
                return "keys_missing" if may_be_published else "unauthenticated"
            return _rights(claims)
        except jwt.ExpiredSignatureError:
            return "token_expired"
        except (jwt.PyJWTError, DecodeError, ValueError, OverflowError):
            return "unauthenticated"

    def _verify(self, token: str, header: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the claims, or None if no known key matches the header. Raises PyJWTError."""
        mismatch = None
        for key in self._keys.matching(header.get("kid"), header.get("alg")):
            try:
                return self._verify_with(token, key)
            except jwt.InvalidSignatureError as error:
                mismatch = error  # a token without `kid` may be signed with any of the keys
        if mismatch:
            raise mismatch
        return None

    def _verify_with(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return self._decode(token, key, verify_exp=True)
        except jwt.ExpiredSignatureError:
            self._decode(token, key, verify_exp=False)  # raises the other error, if there is any
            raise

    def _decode(self, token: str, key: jwt.PyJWK, verify_exp: bool) -> dict[str, Any]:
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


@lru_cache(maxsize=64)  # all tokens that a key signed have the same header
def _header(segment: str) -> dict[str, Any]:
    """Returns the header of a token's first segment, which is not verified yet. Raises PyJWTError."""
    return jwt.get_unverified_header(f"{segment}..")


def _rights(claims: dict[str, Any]) -> Rights:
    subject, login = claims["sub"], claims.get("sid", claims.get("jti", ""))
    issued, expires = int(claims["iat"]), int(claims["exp"])
    if any(name in claims for name in _ID_TOKEN_CLAIMS) or claims.get("token_use", "access") != "access":
        raise DecodeError("not an access token")
    if not (isinstance(subject, str) and 0 < len(subject) <= MAX_NAME_CHARACTERS):
        raise DecodeError("no valid subject")
    if not (isinstance(login, str) and len(login) <= MAX_NAME_CHARACTERS):
        raise DecodeError("no valid session")
    if expires - issued > RETENTION.total_seconds() or not 0 <= expires * 1000 <= MAX_MILLIS:
        raise DecodeError("the lifetime is too long")
    scope = parse_scope(claims["accounts"], claims.get("clients", ()))
    return Rights(subject, login, scope, issued, Millis(expires * 1000))
