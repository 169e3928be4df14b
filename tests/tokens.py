"""Tokens like those of the demo's token endpoint."""

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import jwt

SECRET = "a secret of the tests alone, and long enough"
ISSUER, AUDIENCE = "livebalance-demo", "livebalance"

_serial = count(1)


def claims(**changed: Any) -> dict[str, Any]:
    """Returns valid claims of a new subject, for every account, with changes."""
    now, number = int(time.time()), next(_serial)
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": f"subject-{number}",
        "sid": f"login-{number}",
        "iat": now,
        "exp": now + 3600,
        "accounts": ["*"],
        **changed,
    }


def sign(payload: dict[str, Any], secret: str = SECRET) -> str:
    """Returns a token with these claims."""
    return jwt.encode(payload, secret, "HS256", {"kid": "demo"})


def token(accounts: Sequence[str] = ("*",), seconds: int = 3600, **changed: Any) -> str:
    """Returns a token of a new subject for `accounts`, valid for `seconds`."""
    return sign(claims(accounts=list(accounts), exp=int(time.time()) + seconds, **changed))


def token_source(secret: str = SECRET) -> Callable[[], Awaitable[str]]:
    """Returns a function that returns a new token of the same subject at each call."""
    subject = f"subject-{next(_serial)}"

    async def next_token() -> str:
        return sign(claims(sub=subject), secret)

    return next_token


def bearer(value: str | None = None) -> dict[str, str]:
    """Returns the headers of a request with this token, or with a new token."""
    return {"Authorization": f"Bearer {value or token()}"}
