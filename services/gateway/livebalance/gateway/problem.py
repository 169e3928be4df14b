"""Errors of HTTP: application/problem+json with a stable `code` (RFC 9457), without echoing anything."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from msgspec import json
from starlette.exceptions import HTTPException

from livebalance.gateway.away import AWAY

RETRY_AFTER = "1"  # seconds

_CODES = {404: "not_found", 405: "method_not_allowed", 503: "unavailable"}


class Problem(NamedTuple):
    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = {}

    def response(self) -> Response:
        title = HTTPStatus(self.status).phrase
        body = {
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        headers = dict(self.headers)
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = RETRY_AFTER
        return Response(json.encode(body), self.status, headers, "application/problem+json")


class ProblemError(Exception):
    """Is answered with its problem."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.problem = Problem(status, code, detail, headers or {})


def install(app: FastAPI) -> None:
    @app.exception_handler(ProblemError)
    async def ours(_: Request, error: ProblemError) -> Response:
        return error.problem.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        names = sorted({str(one["loc"][-1]) for one in error.errors()})
        return Problem(422, "bad_parameter", f"not valid: {', '.join(names)}").response()

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "error")
        return Problem(error.status_code, code, HTTPStatus(error.status_code).phrase).response()

    async def away(_: Request, __: Exception) -> Response:
        return Problem(503, "unavailable", "the truth cannot be asked now").response()

    for kind in AWAY:
        app.add_exception_handler(kind, away)
