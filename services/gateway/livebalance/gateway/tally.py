"""Every answer of HTTP is counted; one that says no is told in the log, without what was asked."""

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from livebalance.gateway import metrics
from livebalance.gateway.head import PROBES
from livebalance.runtime import logs

_log = logs.get("http")
_NEAR = {probe.decode() for probe in PROBES}  # who asks for these is answered no, and often, on purpose


class Tally:
    """Around `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                metrics.ANSWERS.labels(status).inc()
                if status >= 400 and scope["path"] not in _NEAR:
                    client = scope.get("client")
                    address = client[0] if client else ""
                    _log.info("answered no", status=status, method=scope["method"], address=address)
            await send(message)

        await self._app(scope, receive, told)
