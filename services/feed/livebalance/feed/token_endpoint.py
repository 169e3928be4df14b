"""Issues tokens for demos to any client. They are signed with a secret that the gateways share."""

import json
import secrets
import time
from typing import Any

import jwt

from livebalance.runtime import logs

ISSUER, AUDIENCE = "livebalance-demo", "livebalance"
MAX_SECONDS = 3600  # longest lifetime of a token
PATH = "/api/demo/token"

Response = tuple[int, str, bytes]  # status, content type, body


class TokenEndpoint:
    """Handles POST requests for demo tokens."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        logs.get("token_endpoint").warning("demo tokens enabled", path=PATH, accounts="all")

    def post(self, body: bytes) -> Response:
        """Returns the response to a request for a token, or 400 if the body is invalid.

        The body is empty, or like `{"accounts": ["EU-*"], "seconds": 600, "subject": "me"}` with any of these
        fields.
        """
        try:
            request = json.loads(body or b"{}")
            accounts, seconds = request.get("accounts", ["*"]), request.get("seconds", MAX_SECONDS)
            subject = request.get("subject", f"demo-{secrets.token_hex(4)}")
            valid = isinstance(seconds, int) and 0 < seconds <= MAX_SECONDS and isinstance(subject, str)
        except (ValueError, AttributeError, RecursionError):
            valid = False
        if not valid or not isinstance(accounts, list) or not all(isinstance(name, str) for name in accounts):
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
