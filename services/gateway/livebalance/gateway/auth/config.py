"""Whose tokens are taken: what the settings say of keys, and all that is wrong with it."""

from collections.abc import Iterator

from jwt import PyJWK
from msgspec import json

from livebalance.gateway.auth.jwks import JwksCache, keys, secret
from livebalance.gateway.auth.tokens import ExpectedClaims
from livebalance.gateway.settings import Settings
from livebalance.runtime.errors import StartupError

DEMO_ISSUER = "livebalance-demo"


def refusals(settings: Settings) -> Iterator[str]:
    """Why a gateway does not start, a line each."""
    named = settings.jwks or settings.jwks_url
    if settings.demo_secret and named:
        yield "LIVEBALANCE_DEMO_SECRET is for demos: it does not go with LIVEBALANCE_JWKS or its URL"
    if not settings.demo_secret and not named:
        yield "no keys to check tokens with: set LIVEBALANCE_JWKS or LIVEBALANCE_JWKS_URL"
    if not settings.demo_secret and not settings.token_issuer:
        yield "whose tokens are taken? set LIVEBALANCE_TOKEN_ISSUER"
    try:
        _own(settings)
    except StartupError as why:
        yield str(why)


def trusted(settings: Settings) -> tuple[JwksCache, ExpectedClaims]:
    """Raises StartupError when the settings have no keys, or keys that are none."""
    for why in refusals(settings):
        raise StartupError(why)
    issuer = DEMO_ISSUER if settings.demo_secret else settings.token_issuer
    assert issuer
    return JwksCache(_own(settings), settings.jwks_url), ExpectedClaims(settings.token_audience, issuer)


def _own(settings: Settings) -> list[PyJWK]:
    if settings.demo_secret:
        try:
            return [secret(settings.demo_secret.get_secret_value(), "demo")]
        except ValueError as reason:
            raise StartupError(f"LIVEBALANCE_DEMO_SECRET will not do: {reason}") from None
    try:
        return keys(json.decode(settings.jwks.get_secret_value())) if settings.jwks else []
    except ValueError as reason:
        raise StartupError(f"LIVEBALANCE_JWKS is no JSON Web Key Set with good keys: {reason}") from None
