"""Tokens for a demo: whoever asks gets one, signed with the secret that the demo's gateways know."""

import json
import secrets
import time
from typing import Any

import jwt
import structlog

ISSUER, AUDIENCE = "livebalance-demo", "livebalance"
LONGEST = 3600  # seconds a token lives
PATH = "/api/demo/token"

Answer = tuple[int, str, bytes]


class TokenEndpoint:
    def __init__(self, secret: str) -> None:
        self._secret = secret
        structlog.stdlib.get_logger("desk").warning(
            "demo mode: whoever asks is given a token for every account", path=PATH
        )

    def post(self, body: bytes) -> Answer:
        """`{"accounts": ["EU-*"], "seconds": 600, "subject": "me"}`, each optional, or nothing at all."""
        try:
            wanted = json.loads(body or b"{}")
            accounts, seconds = wanted.get("accounts", ["*"]), wanted.get("seconds", LONGEST)
            subject = wanted.get("subject", f"demo-{secrets.token_hex(4)}")
            good = isinstance(seconds, int) and 0 < seconds <= LONGEST and isinstance(subject, str)
        except (ValueError, AttributeError, RecursionError):
            good = False
        if not good or not isinstance(accounts, list) or not all(isinstance(one, str) for one in accounts):
            problem = {"type": "about:blank", "title": "Bad Request", "status": 400, "code": "bad_request"}
            return 400, "application/problem+json", json.dumps(problem).encode()
        return 200, "application/json", json.dumps(self._token(subject, accounts, seconds)).encode()

    def _token(self, subject: str, accounts: list[str], seconds: int) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "sid": secrets.token_hex(8),
            "iat": now,
            "exp": now + seconds,
            "accounts": accounts,
        }
        token = jwt.encode(claims, self._secret, "HS256", {"kid": "demo"})
        return {"token": token, "subject": subject, "session": claims["sid"], "expires_in": seconds}
