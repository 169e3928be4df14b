"""Problem details (RFC 9457) for every HTTP error: of a route, of a library, or of a bug."""

from collections.abc import Callable, Mapping, MutableMapping
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from livebalance.gateway.server.http import PROTOCOL_KEY, HttpProtocol
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.telemetry import metrics
from livebalance.readmodel.errors import TRANSIENT
from livebalance.runtime import logs
from livebalance.wire.problem import MEDIA_TYPE, Problem, ProblemCode, encode_problem, problem

RETRY_AFTER = "1"  # seconds
DATA_PATH = "/api/v1/accounts"

_CODES: dict[int, ProblemCode] = {404: "not_found", 405: "method", 416: "ranges", 503: "unavailable"}
_KEPT_HEADERS = ("allow", "content-range", "retry-after")  # they say how to make a valid request

_log = logs.get("http")


def problem_response(body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Returns the response with this problem, and counts it."""
    metrics.PROBLEMS.labels(body.code).inc()
    return _response(body, headers)


def refusal_response(refusal: Refusal) -> Response:
    """Returns the response for a refusal. The caller counts it, as a rejected request."""
    return _response(problem(refusal.status, refusal.reason, refusal.detail), refusal.headers)


def _response(body: Problem, headers: Mapping[str, str] | None) -> Response:
    all_headers = {"cache-control": "no-store", **(headers or {})}
    if body.status == HTTPStatus.SERVICE_UNAVAILABLE:
        all_headers.setdefault("retry-after", RETRY_AFTER)
    return Response(encode_problem(body), body.status, all_headers, MEDIA_TYPE)


class ProblemError(Exception):
    """Raised by a route to respond with a problem."""

    def __init__(
        self, status: HTTPStatus, code: ProblemCode, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.problem = problem(status, code, detail)
        self.headers = headers


def install(app: FastAPI, require_rights: Callable[[Scope], None]) -> None:
    """Makes `app` respond to every error with a problem.

    `require_rights` is called before each part of a response with data is written. It may raise ProblemError.
    """
    app.add_middleware(ProblemMiddleware, require_rights=require_rights)

    @app.exception_handler(ProblemError)
    async def problem_error(_: Request, error: ProblemError) -> Response:
        return problem_response(error.problem, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> Response:
        # A location is ("path" or "query", name, …); the name is ours, so nothing is echoed.
        names = sorted({str(entry["loc"][1]) for entry in error.errors()})
        detail = f"Invalid parameters: {', '.join(names)}."
        return problem_response(problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", detail))

    async def database_unavailable(_: Request, __: Exception) -> Response:
        detail = "The database is unavailable; retry later."
        return problem_response(problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail))

    for error in TRANSIENT:
        app.add_exception_handler(error, database_unavailable)


class ProblemMiddleware:
    """ASGI middleware: turns every other error response, and every unhandled exception, into a problem.

    A response with data also becomes a problem if its rights are not sufficient when it begins. It is aborted
    if they are not when a further part is written: a client that reads slowly may get that much later.
    """

    def __init__(self, app: ASGIApp, require_rights: Callable[[Scope], None]) -> None:
        self._app, self._require_rights = app, require_rights

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the ASGI server for each request."""
        started = replaced = False

        async def send_or_replace(message: MutableMapping[str, Any]) -> None:
            nonlocal started, replaced
            has_data = scope["path"].startswith(DATA_PATH)
            if has_data:
                protocol: HttpProtocol = scope["state"][PROTOCOL_KEY]
                await protocol.until_writable()  # uvicorn would wait after the check
            if message["type"] == "http.response.start":
                started = True
                withheld = self._withheld(scope) if has_data else None
                if replacement := withheld or _replacement(message):
                    replaced = True
                    await replacement(scope, receive, send)
            elif has_data and (not replaced or message.get("more_body")):
                self._require_rights(scope)  # ends also a stream that was replaced, and would be read further
            if not replaced:
                await send(message)

        try:
            await self._app(scope, receive, send_or_replace)
        except Exception:
            if started:
                raise
            await _internal_error()(scope, receive, send)

    def _withheld(self, scope: Scope) -> Response | None:
        """Returns the problem for a response whose data may not be sent."""
        try:
            self._require_rights(scope)
        except ProblemError as error:
            return problem_response(error.problem, error.headers)
        return None


def _replacement(start: MutableMapping[str, Any]) -> Response | None:
    """Returns the problem for a response that starts with this message. None if it is not an error."""
    headers = Headers(raw=start["headers"])
    if start["status"] < HTTPStatus.BAD_REQUEST or headers.get("content-type") == MEDIA_TYPE:
        return None
    status = HTTPStatus(start["status"])
    code = _CODES.get(status, "bad_request")
    kept = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
    return problem_response(problem(status, code, status.phrase), kept)


def _internal_error() -> Response:
    """Returns a problem with an id. The log has the traceback under the same id."""
    error_id = token_urlsafe(6)
    _log.exception("request handler failed", error_id=error_id)
    detail = "Internal error; report the error_id to the operator."
    return problem_response(problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail, error_id))
