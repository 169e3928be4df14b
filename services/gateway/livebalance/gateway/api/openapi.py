"""/api/openapi.json: what FastAPI knows of the routes, and the shapes, examples and problems it does not."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, get_args

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from msgspec import Struct, json, to_builtins

from livebalance.gateway.api.sse_format import CloseEvent, end
from livebalance.gateway.api.statement_format import COLUMNS
from livebalance.wire.close import CloseCode
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.frame import ServerFrame, Snapshot
from livebalance.wire.identity import AccountId, Revision, TransferId, channel_name
from livebalance.wire.problem import MEDIA_TYPE, Problem, ProblemCode, problem
from livebalance.wire.views import (
    AccountsView,
    AccountView,
    BalanceView,
    EdgeView,
    StatementView,
    TransfersView,
    TransferView,
)

ID = r"^[A-Za-z0-9._-]{1,64}$"
PREFIX = r"^[A-Za-z0-9._-]{0,64}$"
CURSOR = r"^[A-Za-z0-9_-]{1,256}$"
BOOKMARK = r"^[A-Za-z0-9_-]{1,4096}$"
TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
ETAG = r'^(W/)?"[0-9a-f]{16}:[0-9]{1,16}"$'

ACCOUNT, TRANSFER = "acc-0001", "t-42"  # of the examples

_FRAMES = (*get_args(ServerFrame), CloseEvent)
_SHAPES = (AccountsView, TransfersView, TransferView, StatementView, Problem, *_FRAMES)

# --- the examples

_EPOCH = "9f3a1c0b7d52e846"
_ACCOUNT = AccountId(ACCOUNT)
_TRANSFER = TransferView(
    TransferId(TRANSFER),
    "-12.50",
    "237.50",
    "2026-11-24T17:20:00.000Z",
    Revision(57),
    "transfers/3@5512",
)
_BALANCE = BalanceView(
    "1237.50", "EUR", 29, Revision(58), _TRANSFER.id, "client-7", "1000.00", "0.00", "0.00", None
)
_CURSOR = encode_cursor(_ACCOUNT, _TRANSFER.id)
_EXAMPLES: dict[type[Struct], Struct] = {
    AccountsView: AccountsView([AccountView(_ACCOUNT, _EPOCH, Revision(58), _BALANCE)], _ACCOUNT),
    Snapshot: Snapshot(
        channel_name(_ACCOUNT),
        _EPOCH,
        Revision(58),
        "subscribed",
        _BALANCE,
        [_TRANSFER],
        _CURSOR,
        "2026-11-24T17:20:01.250Z",
    ),
    TransfersView: TransfersView(_EPOCH, Revision(58), [_TRANSFER], _CURSOR),
    TransferView: _TRANSFER,
    StatementView: StatementView(
        _ACCOUNT,
        _EPOCH,
        Revision(58),
        "EUR",
        EdgeView(Revision(55), "250.00", "1250.00"),
        EdgeView(Revision(57), "237.50", "1237.50"),
        [_TRANSFER],
    ),
}
_CSV = (
    f"{COLUMNS}\r\nopening,55,,,250.00,1250.00,,\r\n"
    f"transfer,57,{TRANSFER},-12.50,237.50,1237.50,2026-11-24T17:20:00.000Z,transfers/3@5512\r\n"
    "closing,57,,,237.50,1237.50,,\r\n"
)

# --- the problems, by status

_PROBLEMS: Mapping[int, tuple[str, tuple[ProblemCode, ...]]] = {
    400: ("Not a request that can be served", ("token_in_url", "bad_request")),
    401: ("No token, or one that is not good", ("unauthenticated", "token_expired", "revoked")),
    403: (
        "Not an account you may see, whether there is one or not; or not your page",
        ("no_access", "origin"),
    ),
    404: ("Nothing here", ("not_found",)),
    405: ("Another method", ("method",)),
    409: ("The revision asked for was not reached in time; ask again", ("not_yet",)),
    410: ("What the cursor names was erased; begin anew", ("cursor_gone",)),
    422: ("A parameter is not what it should be", ("bad_parameter", "bad_cursor")),
    429: ("Too many of your address, or of yours", ("address_full", "address_too_fast", "one_at_a_time")),
    500: ("A bug of ours; error_id names it in the log", ("internal",)),
    503: (
        "The truth cannot be asked now; come back",
        ("unavailable", "not_ready", "draining", "full", "too_fast"),
    ),
}
_ALWAYS = (400, 401, 404, 405, 422, 500, 503)
_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 409: "Retry-After", 429: "Retry-After", 503: "Retry-After"}


def answers(shape: type[Struct], *statuses: int, tagged: bool = False) -> dict[str, Any]:
    """For a route: its answer of that shape, the problems it may be instead, and 304 if it is tagged."""
    ok: dict[str, Any] = {"description": "As asked", "content": {"application/json": _content(shape)}}
    tag = {"ETag": {"description": "The position", "required": True, "schema": _text(ETAG)}}
    found: dict[int | str, Any] = {200: {**ok, "headers": tag} if tagged else ok}
    if tagged:
        found[304] = {"description": "You have it: its tag is in If-None-Match", "headers": tag}
    found.update({status: _problems(status) for status in sorted({*_ALWAYS, *statuses})})
    return {"responses": found}


def statement() -> dict[str, Any]:
    """For the route of statements: two forms of one answer."""
    told = answers(StatementView, 403, 429)
    csv = {"schema": {"$ref": "#/components/schemas/StatementCsv"}}
    told["responses"][200]["content"]["text/csv"] = csv
    return {**told, "response_class": Response}


def streamed() -> dict[str, Any]:
    """For the route of events."""
    content = {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}}
    ok = {"description": "Events until one of the type close", "content": content}
    problems = {status: _problems(status) for status in sorted({*_ALWAYS, 403, 429})}
    return {"responses": {200: ok, **problems}, "response_class": Response}


def _text(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": pattern}


def _content(shape: type[Struct], **examples: object) -> dict[str, Any]:
    told = {name: {"value": value} for name, value in examples.items()}
    return {
        "schema": {"$ref": f"#/components/schemas/{shape.__name__}"},
        **({"examples": told} if told else {}),
    }


def _problems(status: int) -> dict[str, Any]:
    words, codes = _PROBLEMS[status]
    examples = {code: to_builtins(problem(HTTPStatus(status), code, words)) for code in codes}
    told: dict[str, Any] = {"description": words, "content": {MEDIA_TYPE: _content(Problem, **examples)}}
    if name := _HEADERS.get(status):
        told["headers"] = {name: {"required": True, "schema": {"type": "string"}}}
    return told


def install(app: FastAPI, cookie: str) -> None:
    """`cookie`: the name of the one that holds a token."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, cookie)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _event(frames: list[dict[str, str]]) -> dict[str, Any]:
    """One of a stream, as HTML, 9.2.6, reads it."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": frames}}
    *_, last = end(CloseCode.GOODBYE, "drain", 1800).decode().split("data: ")
    return {
        "description": "A frame of the socket; the last one is of the type close",
        "type": "object",
        "properties": {
            "event": {"enum": ["message", "close"]},
            "id": _text(BOOKMARK),
            "retry": {"type": "integer"},
            "data": data,
        },
        "required": ["data"],
        "examples": [{"event": "close", "retry": 1800, "data": last.strip()}],
    }


def _described(app: FastAPI, cookie: str) -> dict[str, Any]:
    whole = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_ABOUT)
    _, shapes = json.schema_components(_SHAPES, ref_template="#/components/schemas/{name}")
    for shape, example in _EXAMPLES.items():  # here: FastAPI would drop what is null in them
        shapes[shape.__name__]["examples"] = [to_builtins(example)]
    shapes["Event"] = _event([{"$ref": f"#/components/schemas/{one.__name__}"} for one in _FRAMES])
    shapes["StatementCsv"] = {"description": _LINES, "type": "string", "examples": [_CSV]}
    shapes["Problem"]["properties"]["code"] = {"enum": list(get_args(ProblemCode))}
    whole["components"] = {
        "schemas": shapes,
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
        },
    }
    whole["security"] = [{"bearer": []}, {"cookie": []}]
    return whole


_LINES = "A line opening, a line for each transfer, a line closing, without which it is not whole (RFC 4180)"
_ABOUT = (
    "Account balances and money transfers, as they stand. Amounts are decimal strings. "
    "A position is (epoch, revision): revisions grow by one with each change, and compare in one epoch only. "
    "docs/protocol.md says the rest, and how the same comes live."
)
