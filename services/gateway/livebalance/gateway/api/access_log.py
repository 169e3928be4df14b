"""Every answer of HTTP is counted; one that says no is told in the log, without what was asked."""

from collections.abc import Container, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from livebalance.gateway.limits.connections import Address, client_address
from livebalance.gateway.server.request_head import PROBES
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs

_log = logs.get("http")
_NEAR = {probe.decode() for probe in PROBES}  # who asks for these is answered no, and often, on purpose


class AccessLogMiddleware:
    """Around `app`."""

    def __init__(self, app: ASGIApp, proxies: Container[Address]) -> None:
        self._app, self._proxies = app, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                metrics.ANSWERS.labels(status).inc()
                if status >= 400 and scope["path"] not in _NEAR:
                    _log.info("answered no", status=status, method=scope["method"], address=self._who(scope))
            await send(message)

        await self._app(scope, receive, told)

    def _who(self, scope: Scope) -> Address:
        peer = scope["client"][0] if scope["client"] else ""
        return client_address(peer, ",".join(Headers(scope=scope).getlist("x-forwarded-for")), self._proxies)
