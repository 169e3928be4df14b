"""Settings of token verification: keys, issuer and audience, and the errors in them."""

from collections.abc import Iterator
from typing import NamedTuple

from jwt import PyJWK
from msgspec import json
from pydantic import SecretStr

from livebalance.gateway.auth.jwks import JwksCache, parse_keys, secret_key
from livebalance.gateway.auth.tokens import ExpectedClaims
from livebalance.runtime.errors import StartupError

DEMO_ISSUER = "livebalance-demo"


class AuthConfig(NamedTuple):
    """The settings of the same names, see docs/configuration.md."""

    jwks: SecretStr | None
    jwks_url: str | None
    token_audience: str
    token_issuer: str | None
    demo_secret: SecretStr | None


def startup_errors(config: AuthConfig) -> Iterator[str]:
    """Yields the reasons why a gateway with this configuration does not start."""
    has_keys = config.jwks or config.jwks_url
    if config.demo_secret and has_keys:
        yield "LIVEBALANCE_DEMO_SECRET is for demos: it does not go with LIVEBALANCE_JWKS or its URL"
    if not config.demo_secret and not has_keys:
        yield "no keys to check tokens with: set LIVEBALANCE_JWKS or LIVEBALANCE_JWKS_URL"
    if not config.demo_secret and not config.token_issuer:
        yield "no issuer to accept tokens from: set LIVEBALANCE_TOKEN_ISSUER"
    try:
        _own_keys(config)
    except StartupError as error:
        yield str(error)


def load(config: AuthConfig) -> tuple[JwksCache, ExpectedClaims]:
    """Returns the keys and the claims that a token must have.

    Raises:
        StartupError: The configuration has no keys, or invalid keys.
    """
    for reason in startup_errors(config):
        raise StartupError(reason)
    issuer = DEMO_ISSUER if config.demo_secret else config.token_issuer
    assert issuer
    return JwksCache(_own_keys(config), config.jwks_url), ExpectedClaims(config.token_audience, issuer)


def _own_keys(config: AuthConfig) -> list[PyJWK]:
    if config.demo_secret:
        try:
            return [secret_key(config.demo_secret.get_secret_value(), "demo")]
        except ValueError as error:
            raise StartupError(f"LIVEBALANCE_DEMO_SECRET is invalid: {error}") from None
    try:
        return parse_keys(json.decode(config.jwks.get_secret_value())) if config.jwks else []
    except ValueError as error:
        raise StartupError(f"LIVEBALANCE_JWKS is not a valid JSON Web Key Set: {error}") from None
