"""The built page, and what every answer tells a browser it may do."""

import re
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

_HASHED = re.compile(r"-[A-Z0-9]{8}\.\w+$")  # as the build names what never changes
_FOR_EVER = "public, max-age=31536000, immutable"

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class SinglePageApp(StaticFiles):
    """Any other address that a browser opens is a view of the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as missing:
            if missing.status_code != 404 or "text/html" not in Headers(scope=scope).get("accept", ""):
                raise
            path = "index.html"
            response = await super().get_response(path, scope)
        response.headers["cache-control"] = _FOR_EVER if _HASHED.search(path) else "no-cache"
        return response


class SecurityHeadersMiddleware:
    """Adds the headers to every answer of `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, guarded)
