"""Makes docs/asyncapi.json: the socket protocol as AsyncAPI 3, from the wire types and the golden vectors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from msgspec import Struct, json

from livebalance.wire.close import CloseCode, CloseReason
from livebalance.wire.frame import SUBPROTOCOL, ClientFrame, ErrorCode, ServerFrame

Vectors = Mapping[str, Sequence[Mapping[str, Any]]]

_OF_CLIENT: tuple[type[Struct], ...] = get_args(ClientFrame)
_OF_GATEWAY: tuple[type[Struct], ...] = get_args(ServerFrame)
_EXAMPLES = 3  # of each frame, at most
_ANSWERED = {
    "auth": ("welcome",),
    "subscribe": ("ok", "error", "snapshot", "delta"),
    **dict.fromkeys(("refresh", "unsubscribe", "rate", "ping"), ("ok", "error")),
}
_SOCKET = {"$ref": "#/channels/socket"}

_ABOUT = """\
Account balances and money transfers, live. A snapshot is the whole state of an account at a revision; a delta
applies to the state at its `from` and makes it the one at its `to`. Unknown fields are ignored, and so are
frames of an unknown type. What is said when is in docs/protocol.md; errors and closes are in docs/errors.md.

Made by `make docs`.
"""


def document(frames: Vectors, closes: Vectors) -> dict[str, Any]:
    """`frames`, `closes`: the golden vectors of those names."""
    _, schemas = json.schema_components(
        (*_OF_CLIENT, *_OF_GATEWAY, CloseReason), ref_template="#/components/schemas/{name}"
    )
    schemas["Error"]["properties"]["code"]["examples"] = list(get_args(ErrorCode))
    messages = {
        **{_tag(one): _message(one, schemas, frames["client"]) for one in _OF_CLIENT},
        **{_tag(one): _message(one, schemas, frames["server"]) for one in _OF_GATEWAY},
    }
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Livebalance, the socket",
            "version": SUBPROTOCOL.rpartition(".")[2],
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"demo": _server()},
        "channels": {"socket": _channel(messages, closes)},
        "operations": {
            **{_tag(one): _operation("receive", [_tag(one)], _ANSWERED[_tag(one)]) for one in _OF_CLIENT},
            "tell": _operation("send", [_tag(one) for one in _OF_GATEWAY]),
        },
        "components": {"schemas": schemas, "messages": messages, "securitySchemes": _SECURITY},
    }


def _tag(frame: type[Struct]) -> str:
    return str(frame.__struct_config__.tag)


def _message(
    frame: type[Struct], schemas: Mapping[str, Any], vectors: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    tag, name = _tag(frame), frame.__name__
    told = [{"name": one["name"], "payload": one["means"]} for one in vectors if one["means"]["type"] == tag]
    return {
        "name": tag,
        "title": tag,
        "summary": schemas[name]["description"],
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": told[:_EXAMPLES],
    }


def _server() -> dict[str, Any]:
    return {
        "host": "localhost:8080",
        "protocol": "ws",
        "description": "The demo. Elsewhere it is wss, at the address of your balancer.",
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
    }


_SECURITY = {
    "token": {
        "type": "apiKey",
        "in": "user",
        "description": "A JWT: `token` of the first message, `auth`, within 5 seconds; never in an address.",
    },
    "cookie": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": "livebalance",
        "description": "The same, of a page on an origin that is allowed; it needs no message.",
    },
}


def _channel(messages: Iterable[str], closes: Vectors) -> dict[str, Any]:
    protocol = {"type": "string", "enum": [SUBPROTOCOL]}
    headers = {"type": "object", "properties": {"Sec-WebSocket-Protocol": protocol}}
    return {
        "address": "/ws",
        "title": "The socket",
        "description": "Text frames, one JSON object each, with a `type`.",
        "messages": {tag: {"$ref": f"#/components/messages/{tag}"} for tag in messages},
        "bindings": {
            "ws": {
                "method": "GET",
                "headers": {**headers, "required": [*headers["properties"]]},
                "bindingVersion": "0.1.0",
            }
        },
        "x-close-reason": {"$ref": "#/components/schemas/Reason"},
        "x-close-codes": [one for one in closes["codes"] if one["code"] in set(CloseCode)],
    }


def _operation(
    action: Literal["receive", "send"], tags: Sequence[str], answers: Sequence[str] = ()
) -> dict[str, Any]:
    """As the gateway does it."""
    told = {"action": action, "channel": _SOCKET, "messages": _in_channel(tags)}
    return {**told, "reply": {"channel": _SOCKET, "messages": _in_channel(answers)}} if answers else told


def _in_channel(tags: Iterable[str]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/socket/messages/{tag}"} for tag in tags]
