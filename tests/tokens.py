"""Tokens as the demo's desk gives them, for tests that need no desk."""

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import jwt

SECRET = "a secret of the tests alone, and long enough"
ISSUER, AUDIENCE = "livebalance-demo", "livebalance"

_serial = count(1)


def claims(**changed: Any) -> dict[str, Any]:
    """Good ones, of a subject of their own, for every account."""
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


def signed(given: dict[str, Any], secret: str = SECRET) -> str:
    return jwt.encode(given, secret, "HS256", {"kid": "demo"})


def token(accounts: Sequence[str] = ("*",), seconds: int = 3600, **changed: Any) -> str:
    return signed(claims(accounts=list(accounts), exp=int(time.time()) + seconds, **changed))


def tokens(secret: str = SECRET) -> Callable[[], Awaitable[str]]:
    """What a client asks for one, each time for the same subject."""
    subject = f"subject-{next(_serial)}"

    async def give() -> str:
        return signed(claims(sub=subject), secret)

    return give


def bearer(given: str | None = None) -> dict[str, str]:
    """The header of a request."""
    return {"Authorization": f"Bearer {given or token()}"}
