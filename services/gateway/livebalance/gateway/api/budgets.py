"""Rejects API requests of users, and of addresses without a valid token, that exceed their budget."""

import asyncio
import time
from collections.abc import Container
from http import HTTPStatus
from math import ceil

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from livebalance.gateway.api import sse
from livebalance.gateway.api.access_log import scope_address
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.problems import refusal_response
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.limits.budgets import RequestBudgets, Requester
from livebalance.gateway.limits.client_address import Address, client_network
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.telemetry import metrics
from livebalance.wire.problem import ProblemCode

API_PREFIX = "/api/"
_CODES: dict[tuple[str, str], ProblemCode] = {
    ("user", "full"): "user_full",
    ("user", "too_fast"): "user_too_fast",
    ("address", "full"): "address_full",
    ("address", "too_fast"): "address_too_fast",
}


class BudgetMiddleware:
    """ASGI middleware: counts each request of the API until it was answered, or answers 429 (RFC 6585 §4)."""

    def __init__(
        self, app: ASGIApp, auth: RequestAuth, budgets: RequestBudgets, trusted_proxies: Container[Address]
    ) -> None:
        self._app, self._auth = app, auth
        self._budgets, self._trusted_proxies = budgets, trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the ASGI server for each request."""
        if not scope["path"].startswith(API_PREFIX):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        requester = self._requester(request)
        if over := self._budgets.admit(requester, time.monotonic()):
            code = _CODES[requester.kind, over.reason]
            metrics.REJECTED.labels(code).inc()
            await asyncio.sleep(over.hold)
            await _rejection(request, code, over.retry_after)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._budgets.release(requester)

    def _requester(self, request: Request) -> Requester:
        rights = self._auth.check(request)
        if isinstance(rights, Rights):
            return Requester("user", rights.subject)
        address = scope_address(request.scope, self._trusted_proxies)
        return Requester("address", client_network(address))


def _rejection(request: Request, code: ProblemCode, retry_after: float) -> ASGIApp:
    detail = "Too many requests at once, or too many requests per second; retry later."
    headers = {"retry-after": str(ceil(retry_after))}
    refusal = Refusal(HTTPStatus.TOO_MANY_REQUESTS, code, detail, headers)
    if request.url.path == sse.PATH:
        return sse.refusal_response(refusal, request.headers.get("accept", ""))
    return refusal_response(refusal)
