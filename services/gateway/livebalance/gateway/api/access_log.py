"""Counts every HTTP response, and logs each error response without anything that the client sent."""

from collections.abc import Container, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from livebalance.gateway.limits.client_address import Address, client_address
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs

_log = logs.get("http")


class AccessLogMiddleware:
    """ASGI middleware: counts responses by status, and logs those with a status from 400 on."""

    def __init__(self, app: ASGIApp, trusted_proxies: Container[Address]) -> None:
        self._app, self._trusted_proxies = app, trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the ASGI server for each request."""

        async def send_counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                metrics.RESPONSES.labels(status).inc()
                if status >= 400:
                    _log.info(
                        "error response sent",
                        status=status,
                        method=scope["method"],
                        address=scope_address(scope, self._trusted_proxies),
                    )
            await send(message)

        await self._app(scope, receive, send_counted)


def scope_address(scope: Scope, trusted_proxies: Container[Address]) -> Address:
    """Returns the address of the client that sent a request."""
    peer = scope["client"][0] if scope["client"] else ""
    forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
    return client_address(peer, forwarded, trusted_proxies)
