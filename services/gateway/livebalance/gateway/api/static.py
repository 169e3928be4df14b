"""Static files of the built page, and security headers for every response."""

import re
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

_HASHED = re.compile(r"-[\w-]{8}\.\w+$")  # the build puts a hash of the content into these names
_IMMUTABLE = "public, max-age=31536000, immutable"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_REFERENCE = "/api/docs"  # its libraries make markup of text, so it has no Trusted Types
_HEADERS = {
    "content-security-policy": f"{_POLICY}; require-trusted-types-for 'script'; trusted-types angular",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class SinglePageApp(StaticFiles):
    """Serves index.html for every unknown path that a browser opens: the page has its own router."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Called by Starlette for each request."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as missing:
            if missing.status_code != 404 or "text/html" not in Headers(scope=scope).get("accept", ""):
                raise
            path = "index.html"
            response = await super().get_response(path, scope)
        response.headers["cache-control"] = _IMMUTABLE if _HASHED.search(path) else "no-cache"
        return response


class SecurityHeadersMiddleware:
    """ASGI middleware: adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the ASGI server for each request."""

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if scope["path"].startswith(_REFERENCE):
                    headers["content-security-policy"] = _POLICY
            await send(message)

        await self._app(scope, receive, send_with_headers)
