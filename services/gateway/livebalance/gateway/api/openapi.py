"""The OpenAPI document: FastAPI describes the routes; schemas, examples and problems are added here."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from typing import Any, get_args

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from msgspec import Struct, json, structs, to_builtins

from livebalance.gateway.api.sse_format import CloseEvent, encode_close
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
    ChartView,
    EdgeView,
    PointView,
    StatementView,
    TransferDetailView,
    TransfersView,
    TransferView,
)

PATH = "/api/openapi.json"
ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
PREFIX_PATTERN = r"^[A-Za-z0-9._-]{0,64}$"
CURSOR_PATTERN = r"^[A-Za-z0-9_-]{1,256}$"
EVENT_ID_PATTERN = r"^[A-Za-z0-9_-]{1,4096}$"
TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
AMOUNT_PATTERN = r"^(0|[1-9][0-9]{0,40})(\.[0-9]{1,18})?$"
_ETAG_PATTERN = r'^(W/)?"[0-9a-f]{16}:[0-9]{1,16}"$'

EXAMPLE_ACCOUNT, EXAMPLE_TRANSFER = "acc-0001", "t-42"

_FRAME_TYPES = (*get_args(ServerFrame), CloseEvent)
_SCHEMA_TYPES = (
    AccountsView,
    TransfersView,
    TransferDetailView,
    StatementView,
    ChartView,
    Problem,
    *_FRAME_TYPES,
)

# --- the examples

_EPOCH = "9f3a1c0b7d52e846"
_ACCOUNT = AccountId(EXAMPLE_ACCOUNT)
_TRANSFER = TransferView(
    TransferId(EXAMPLE_TRANSFER),
    "-12.50",
    "237.50",
    "2026-11-24T17:20:00.000Z",
    Revision(57),
    "transfers/3@5512",
)
_BALANCE = BalanceView(
    "1237.50", "EUR", 29, Revision(58), _TRANSFER.id, "client-7", "1000.00", "0.00", "0.00", None
)
_RECORDED_AT = "2026-11-24T17:20:00.012Z"
EXAMPLE_CURSOR = encode_cursor(_ACCOUNT, _TRANSFER.id)
_EXAMPLES: dict[type[Struct], Struct] = {
    AccountsView: AccountsView(
        [AccountView(_ACCOUNT, _EPOCH, Revision(58), _BALANCE)], _ACCOUNT, "2026-11-24T17:20:01.250Z"
    ),
    Snapshot: Snapshot(
        channel_name(_ACCOUNT),
        _EPOCH,
        Revision(58),
        "subscribed",
        _BALANCE,
        [_TRANSFER],
        EXAMPLE_CURSOR,
        "2026-11-24T17:20:01.250Z",
    ),
    TransfersView: TransfersView(_EPOCH, Revision(58), [_TRANSFER], EXAMPLE_CURSOR),
    TransferDetailView: TransferDetailView(**structs.asdict(_TRANSFER), recorded_at=_RECORDED_AT),
    ChartView: ChartView(
        _EPOCH, Revision(58), [PointView(_TRANSFER.revision, _TRANSFER.total, _RECORDED_AT)]
    ),
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
_CSV_TRANSFER = (
    f"transfer,57,{EXAMPLE_TRANSFER},-12.50,237.50,1237.50,2026-11-24T17:20:00.000Z,transfers/3@5512\r\n"
)
_CSV = f"{COLUMNS}\r\nopening,55,,,250.00,1250.00,,\r\n{_CSV_TRANSFER}closing,57,,,237.50,1237.50,,\r\n"

# --- the problems, by status

_PROBLEMS: Mapping[int, tuple[str, tuple[ProblemCode, ...]]] = {
    400: ("The request is malformed, or its URL contains a token.", ("token_in_url", "bad_request")),
    401: ("The request has no valid token.", ("unauthenticated", "token_expired", "revoked")),
    403: (
        "The token gives no access to this account, whether it exists or not; "
        "or the request uses the cookie from a page that is not allowed.",
        ("no_access", "origin"),
    ),
    404: ("There is nothing at this URL.", ("not_found",)),
    405: ("The URL does not have this method.", ("method",)),
    409: ("The account did not reach the requested revision in time; retry later.", ("not_yet",)),
    410: ("The item that the cursor names was erased; start again without a cursor.", ("cursor_gone",)),
    422: ("A parameter is invalid.", ("bad_parameter", "bad_cursor")),
    429: (
        "Too many connections of this address, or requests of this user; retry later.",
        ("address_full", "address_too_fast", "user_full", "user_too_fast", "one_at_a_time"),
    ),
    500: ("Internal error; error_id is in the gateway's log.", ("internal",)),
    503: (
        "The database or the gateway is unavailable; retry later.",
        ("unavailable", "not_ready", "draining", "full", "too_fast"),
    ),
}
_ALWAYS = (400, 401, 404, 405, 422, 429, 500, 503)
_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 409: "Retry-After", 429: "Retry-After", 503: "Retry-After"}


def json_responses(body: type[Struct], *statuses: int, with_etag: bool = False) -> dict[str, Any]:
    """Returns the arguments of a route decorator for a JSON route.

    `statuses` are the route's problems besides those of every route. With an ETag, 304 is described too.
    """
    etag = {"ETag": {"description": "The position", "required": True, "schema": _string(_ETAG_PATTERN)}}
    success: dict[str, Any] = {"description": "Success", "content": {"application/json": _content(body)}}
    responses: dict[int | str, Any] = {200: {**success, "headers": etag} if with_etag else success}
    if with_etag:
        responses[304] = {"description": "If-None-Match contains the current ETag", "headers": etag}
    responses.update({status: _problems(status) for status in sorted({*_ALWAYS, *statuses})})
    return {"responses": responses}


def json_response(body: Struct, tag: str | None = None) -> Response:
    """Returns a response with a JSON body, and its ETag if it has one."""
    headers = {"cache-control": "no-store", **({"etag": tag} if tag else {})}
    return Response(json.encode(body), media_type="application/json", headers=headers)


def statement_responses() -> dict[str, Any]:
    """Returns the arguments of the route decorator for statements, which are JSON or CSV."""
    arguments = json_responses(StatementView, 403)
    csv = {"schema": {"$ref": "#/components/schemas/StatementCsv"}}
    arguments["responses"][200]["content"]["text/csv"] = csv
    return {**arguments, "response_class": Response}


def search_csv_responses() -> dict[str, Any]:
    """Returns the arguments of the route decorator for search results, which are CSV."""
    arguments = json_responses(StatementView, 403)
    csv = {"schema": {"$ref": "#/components/schemas/SearchCsv"}}
    arguments["responses"][200]["content"] = {"text/csv": csv}
    return {**arguments, "response_class": Response}


def event_stream_responses() -> dict[str, Any]:
    """Returns the arguments of the route decorator for the event stream."""
    content = {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}}
    success = {"description": "Events. The last one has the type close.", "content": content}
    problems = {status: _problems(status) for status in sorted({*_ALWAYS, 403})}
    return {"responses": {200: success, **problems}, "response_class": Response}


def _string(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": pattern}


def _content(body: type[Struct], **examples: object) -> dict[str, Any]:
    named_examples = {name: {"value": value} for name, value in examples.items()}
    return {
        "schema": {"$ref": f"#/components/schemas/{body.__name__}"},
        **({"examples": named_examples} if named_examples else {}),
    }


def _problems(status: int) -> dict[str, Any]:
    description, codes = _PROBLEMS[status]
    examples = {code: to_builtins(problem(HTTPStatus(status), code, description)) for code in codes}
    content = {MEDIA_TYPE: _content(Problem, **examples)}
    response: dict[str, Any] = {"description": description, "content": content}
    if name := _HEADERS.get(status):
        response["headers"] = {name: {"required": True, "schema": {"type": "string"}}}
    return response


def install(app: FastAPI, cookie: str) -> None:
    """Makes `app` serve the document, encoded once. `cookie` is the name of the cookie with the token."""

    @cache
    def body() -> tuple[bytes, str]:
        text = json.encode(_document(app, cookie))
        return text, f'"{sha256(text).hexdigest()[:16]}"'

    @app.get(PATH, include_in_schema=False)
    async def openapi(request: Request) -> Response:
        text, etag = body()
        headers = {"etag": etag, "cache-control": "no-cache"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(text, media_type="application/json", headers=headers)


def _event_schema(frames: list[dict[str, str]]) -> dict[str, Any]:
    """Returns the schema of an event, as parsed by a client (HTML §9.2.6)."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": frames}}
    *_, last = encode_close(CloseCode.GOODBYE, "drain", 1800).decode().split("data: ")
    return {
        "description": "A frame as on the WebSocket. The last event has the type close.",
        "type": "object",
        "properties": {
            "event": {"enum": ["message", "close"]},
            "id": _string(EVENT_ID_PATTERN),
            "retry": {"type": "integer"},
            "data": data,
        },
        "required": ["data"],
        "examples": [{"event": "close", "retry": 1800, "data": last.strip()}],
    }


def _document(app: FastAPI, cookie: str) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_DESCRIPTION)
    _, schemas = json.schema_components(_SCHEMA_TYPES, ref_template="#/components/schemas/{name}")
    for type_, example in _EXAMPLES.items():  # added here, because FastAPI would drop their null fields
        schemas[type_.__name__]["examples"] = [to_builtins(example)]
    schemas["Event"] = _event_schema(
        [{"$ref": f"#/components/schemas/{type_.__name__}"} for type_ in _FRAME_TYPES]
    )
    schemas["StatementCsv"] = {"description": _CSV_DESCRIPTION, "type": "string", "examples": [_CSV]}
    schemas["SearchCsv"] = {
        "description": "RFC 4180: a line for each transfer, newest first",
        "type": "string",
        "examples": [f"{COLUMNS}\r\n{_CSV_TRANSFER}"],
    }
    schemas["Problem"]["properties"]["code"] = {"enum": list(get_args(ProblemCode))}
    document["components"] = {
        "schemas": schemas,
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
        },
    }
    document["security"] = [{"bearer": []}, {"cookie": []}]
    return document


_CSV_DESCRIPTION = (
    "RFC 4180: a line `opening`, a line for each transfer, a line `closing`. "
    "A statement without `closing` is incomplete."
)
_DESCRIPTION = (
    "Account balances and transfers. Amounts are decimal strings. "
    "A position is (epoch, revision): each change increases the revision by one, and revisions are only "
    "comparable within one epoch. docs/protocol.md describes the rest, and the live updates."
)
