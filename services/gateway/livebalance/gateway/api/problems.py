"""Every answer of HTTP that says no is a problem, whoever gives it: a route, a library, or a bug."""

from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.telemetry import metrics
from livebalance.readmodel.errors import TRANSIENT
from livebalance.runtime import logs
from livebalance.wire.problem import MEDIA_TYPE, Problem, ProblemCode, encode_problem, problem

RETRY_AFTER = "1"  # seconds

_CODES: dict[int, ProblemCode] = {404: "not_found", 405: "method", 416: "ranges", 503: "unavailable"}
_KEPT = ("allow", "content-range", "retry-after")  # headers that say how to ask better

_log = logs.get("http")


def answer(one: Problem, headers: Mapping[str, str] | None = None) -> Response:
    metrics.PROBLEMS.labels(one.code).inc()
    return _response(one, headers)


def _response(one: Problem, headers: Mapping[str, str] | None) -> Response:
    told = dict(headers or {})
    if one.status == HTTPStatus.SERVICE_UNAVAILABLE:
        told.setdefault("retry-after", RETRY_AFTER)
    return Response(encode_problem(one), one.status, {"cache-control": "no-store", **told}, MEDIA_TYPE)


def refused(refusal: Refusal) -> Response:
    """Not counted here: whoever turns it away does."""
    return _response(problem(refusal.status, refusal.reason, refusal.detail), refusal.headers)


class ProblemError(Exception):
    """Is answered with its problem."""

    def __init__(
        self, status: HTTPStatus, code: ProblemCode, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.problem = problem(status, code, detail)
        self.headers = headers


def install(app: FastAPI) -> None:
    app.add_middleware(ProblemMiddleware)

    @app.exception_handler(ProblemError)
    async def ours(_: Request, error: ProblemError) -> Response:
        return answer(error.problem, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        names = sorted({str(one["loc"][1]) for one in error.errors()})  # as we call them: path or query, name
        words = f"not valid: {', '.join(names)}"
        return answer(problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", words))

    async def away(_: Request, __: Exception) -> Response:
        words = "the truth cannot be asked now"
        return answer(problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", words))

    for kind in TRANSIENT:
        app.add_exception_handler(kind, away)


class ProblemMiddleware:
    """Around `app`: what it says no with in other words is told as a problem, and what it dies of too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = replaced = False

        async def told(message: MutableMapping[str, Any]) -> None:
            nonlocal began, replaced
            if message["type"] == "http.response.start":
                began = True
                if instead := _instead(message):
                    replaced = True
                    await instead(scope, receive, send)
            if not replaced:
                await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception:
            if began:
                raise
            await _bug()(scope, receive, send)


def _instead(start: MutableMapping[str, Any]) -> Response | None:
    headers = Headers(raw=start["headers"])
    if start["status"] < HTTPStatus.BAD_REQUEST or headers.get("content-type") == MEDIA_TYPE:
        return None
    status = HTTPStatus(start["status"])
    code = _CODES.get(status, "bad_request")
    kept = {name: headers[name] for name in _KEPT if name in headers}
    return answer(problem(status, code, status.phrase), kept)


def _bug() -> Response:
    """The log has the traceback, the client its name."""
    id_ = token_urlsafe(6)
    _log.exception("a request met a bug", error_id=id_)
    return answer(problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "a bug of ours", id_))
