"""The frames of the WebSocket `/ws`, subprotocol livebalance.v1: JSON text, each with a `type`.

Clients and gateways ignore unknown fields. An absent field is UNSET here; null is None.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from livebalance.wire import json_types
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, Position, Revision, parse_epoch
from livebalance.wire.strict_json import StrictError, check_strict
from livebalance.wire.views import BalanceView, MemberView, TotalView, TransferView

SUBPROTOCOL = "livebalance.v1"
RETIRED_SUBPROTOCOLS = ("livebalance.v0",)  # a client that offers only these is closed with 4506
MAX_CLIENT_FRAME = 16 * 1024  # bytes

# The gateway echoes it, so it must be short, and a number must fit into a JavaScript number.
RequestId = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=0, le=MAX_REVISION)]
SnapshotReason = Literal["subscribed", "too_far", "ahead", "epoch"]


class _Frame(Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True):
    pass


# --- frames that a client sends


class PositionJson(Struct, frozen=True):
    """Position as a client sends it. An impossible position is answered by a snapshot, not by an error."""

    epoch: str
    revision: Annotated[int, Meta(ge=-MAX_REVISION, le=MAX_REVISION)]


class ChannelRequest(Struct, frozen=True, omit_defaults=True):
    """A channel to subscribe to, and the position of the state that the client already has."""

    channel: json_types.AnyChannel
    position: PositionJson | None = None  # of an account; a set always begins with a snapshot


class Auth(_Frame, frozen=True):
    """Authenticates the connection; the first message without a cookie. Answered by `welcome` or a close."""

    token: str


class Refresh(_Frame, frozen=True):
    """Replaces the token by another one of the same subject; subscriptions and positions stay."""

    id: RequestId
    token: str


class Subscribe(_Frame, frozen=True):
    """Answered by `ok`, and per channel by a snapshot or by the deltas that follow the client's position."""

    id: RequestId
    channels: list[ChannelRequest]
    features: list[str] = msgspec.field(
        default_factory=list
    )  # of these channels; unknown features are ignored


class Unsubscribe(_Frame, frozen=True):
    """Ends the subscriptions of these channels. Answered by `ok`."""

    id: RequestId
    channels: list[json_types.AnyChannel]


class Rate(_Frame, frozen=True):
    """Limits how often data is sent; changes in between become a single delta per channel. Null: no limit."""

    id: RequestId
    max_per_second: Annotated[float, Meta(gt=0, le=1000)] | None


class Ping(_Frame, frozen=True):
    """Checks the connection. Answered by `ok`."""

    id: RequestId


ClientFrame = Auth | Refresh | Subscribe | Unsubscribe | Rate | Ping


# --- frames that a gateway sends


class Limits(Struct, frozen=True):
    """Limits of the gateway."""

    message_bytes: int
    subscriptions: int
    resume_max: int  # a position that is more revisions behind is answered with a snapshot
    messages_per_second: float | UnsetType = UNSET  # on average; three times as many at once
    connections_per_address: int | UnsetType = UNSET
    connections_per_user: int | UnsetType = UNSET
    sets: int | UnsetType = UNSET  # sets of accounts that a connection may subscribe to
    set_accounts: int | UnsetType = UNSET  # accounts that a set may have


class Welcome(_Frame, frozen=True):
    """The client is authenticated; the first frame that a client receives."""

    session: str
    gateway: str
    version: str
    features: list[str]
    epoch: json_types.Epoch | None  # null while Postgres is unavailable
    server_time: json_types.Time
    heartbeat_ms: int
    limits: Limits
    expires_at: json_types.Time | UnsetType = UNSET  # of the token


class Gap(Struct, frozen=True, rename={"from_": "from"}):
    """Revisions that a snapshot leaves out. REST returns their transfers (`after_revision`)."""

    from_: json_types.Revision
    to: json_types.Revision


class Snapshot(_Frame, frozen=True):
    """The whole state at a revision: `transfers` newest first, and a `cursor` for older transfers."""

    channel: json_types.Channel
    epoch: json_types.Epoch
    revision: json_types.Revision
    reason: SnapshotReason
    balance: BalanceView | None
    transfers: list[TransferView]
    cursor: str | None
    as_of: json_types.Time | None
    gap: Gap | UnsetType = UNSET


class DeltaFrame(_Frame, frozen=True, tag="delta", rename={"from_": "from"}):
    """Applies only to a state at `from`; `transfers` are in order. A page with `more` carries no balance."""

    channel: json_types.Channel
    epoch: json_types.Epoch
    from_: json_types.Revision
    to: json_types.Revision
    transfers: list[TransferView]
    recorded_at: json_types.Time
    more: bool = False
    balance: BalanceView | UnsetType | None = UNSET


class TransferPatch(Struct, frozen=True):
    """A transfer in a patch. Without `revision` it is the next: that of the first is `from` + 1."""

    id: json_types.Transfer
    amount: json_types.Amount
    total: json_types.Amount
    occurred_at: json_types.Time
    source: json_types.Source
    revision: json_types.Revision | UnsetType = UNSET


class BalancePatch(Struct, frozen=True):
    """The fields of a balance that changed. A new `version` implies others (docs/protocol.md#patches)."""

    amount: json_types.Amount | UnsetType = UNSET
    currency: str | UnsetType | None = UNSET
    version: json_types.Count | UnsetType = UNSET
    revision: json_types.Revision | UnsetType = UNSET
    transfer_id: json_types.NamedTransfer | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    opening: json_types.Amount | UnsetType | None = UNSET
    half_applied: json_types.Amount | UnsetType | None = UNSET
    drift: json_types.Amount | UnsetType | None = UNSET
    disputed_since: json_types.Time | UnsetType | None = UNSET


class Patch(_Frame, frozen=True, rename={"from_": "from"}):
    """A delta without what the delta before it on this connection has (docs/protocol.md#patches)."""

    channel: json_types.Channel
    epoch: json_types.Epoch
    from_: json_types.Revision
    to: json_types.Revision
    recorded_at: json_types.Time
    transfers: list[TransferPatch] = msgspec.field(default_factory=list)
    balance: BalancePatch | UnsetType = UNSET


PATCHES = "patches"  # the feature of a client that understands patches

SetSnapshotReason = Literal["subscribed", "replaced"]


class _SetFrame(_Frame, frozen=True):
    """The last page has `totals` and `lanes`; until then the client is between two positions."""

    channel: json_types.SetChannel
    epoch: json_types.Epoch
    to: json_types.Count  # number of the newest change that the client has then
    members: list[MemberView]
    more: bool = False
    totals: list[TotalView] | UnsetType = UNSET
    lanes: dict[str, int] | UnsetType = UNSET  # number of the lane -> number of its newest batch


class SetSnapshot(_SetFrame, frozen=True, kw_only=True, tag="set_snapshot"):
    """The first members of a set: they replace what the client has of it. Deltas with the others follow."""

    reason: SetSnapshotReason


class SetDelta(_SetFrame, frozen=True, kw_only=True, tag="set_delta", rename={"from_": "from"}):
    """Members that changed or joined, and accounts that left. Applies only to a state at number `from`."""

    from_: json_types.Count
    left: list[json_types.Account] = msgspec.field(default_factory=list)


class Heartbeat(_Frame, frozen=True):
    """Sent every `heartbeat_ms`. The client has all that Kafka had until `as_of`; null: not known yet."""

    server_time: json_types.Time
    as_of: json_types.Time | None


class Status(_Frame, frozen=True):
    """State of the whole pipeline, with a reason unless it is live."""

    state: Literal["live", "catching_up", "stalled"]
    since: json_types.Time
    reason: str | UnsetType = UNSET


class Ok(_Frame, frozen=True):
    """The request with this `id` succeeded."""

    id: RequestId


class Error(_Frame, frozen=True):
    """A request, or one of its channels, was rejected. If `temporary` is true, the client may retry it."""

    code: str
    message: str
    temporary: bool
    id: RequestId | UnsetType = UNSET
    channel: json_types.AnyChannel | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET


class Unsubscribed(_Frame, frozen=True):
    """The gateway ended a subscription: `gone` (the account was erased), `revoked`, or `limit` (of a set)."""

    channel: json_types.AnyChannel
    code: str
    message: str


class AuthExpiring(_Frame, frozen=True, tag="auth_expiring"):
    """The token ends soon. Without a `refresh` with another token the connection is closed with 4001."""

    expires_at: json_types.Time


class Goaway(_Frame, frozen=True):
    """The gateway closes this connection soon; the client should reconnect within the given time."""

    reason: str
    reconnect_within_ms: int


ServerFrame = (
    Welcome
    | Snapshot
    | DeltaFrame
    | Patch
    | SetSnapshot
    | SetDelta
    | Heartbeat
    | Status
    | Ok
    | Error
    | Unsubscribed
    | AuthExpiring
    | Goaway
)

ErrorCode = Literal[
    "bad_message",
    "unknown_type",
    "bad_account",
    "no_access",
    "limit",
    "rate_limited",
    "not_yet",
    "unavailable",
    "gone",
    "token_in_url",
]


class FrameError(DecodeError):
    """A client's frame is rejected. The gateway answers it with an error frame of the same fields.

    Attributes:
        code: Code of the error frame.
        message: Text for a person.
        id: Id of the request, if it could be read.
        retry_after_ms: Milliseconds until the same frame may succeed; None: it never will.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        id_: RequestId | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id_
        self.retry_after_ms = retry_after_ms


class _Head(Struct, frozen=True):
    type: str
    id: RequestId | None = None


_encoder = msgspec.json.Encoder()
_head_decoder = msgspec.json.Decoder(_Head)
_client_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "auth": msgspec.json.Decoder(Auth),
    "refresh": msgspec.json.Decoder(Refresh),
    "subscribe": msgspec.json.Decoder(Subscribe),
    "unsubscribe": msgspec.json.Decoder(Unsubscribe),
    "rate": msgspec.json.Decoder(Rate),
    "ping": msgspec.json.Decoder(Ping),
}
_server_decoder = msgspec.json.Decoder(ServerFrame)

_INVALID = "not a message of this protocol"


def decode_client_frame(text: bytes | str) -> ClientFrame:
    """Returns the frame that a client sent.

    Raises:
        FrameError: `text` is not such a frame, or JSON that two parsers may read differently.
    """
    head: _Head | None = None
    try:
        head = _head_decoder.decode(text)
        frame: ClientFrame = _client_decoders[head.type].decode(text)
        if not _is_unambiguous(text, frame):
            check_strict(text)
    except KeyError as cause:
        raise _frame_error(text, head, "unknown_type", "unknown message type") from cause
    except (StrictError, msgspec.DecodeError, UnicodeError, RecursionError) as cause:
        raise _frame_error(text, head, "bad_message", _INVALID) from cause
    return frame


def _is_unambiguous(text: bytes | str, frame: ClientFrame) -> bool:
    """Returns whether `text` has each field of `frame` once and nothing else.

    A duplicate key or an unknown field would add a colon to those of the encoded frame. This check is much
    faster than `check_strict`.
    """
    data = text.encode() if isinstance(text, str) else text
    return b"\\" not in data and data.count(b":") == _encoder.encode(frame).count(b":")


def _frame_error(text: bytes | str, head: _Head | None, code: ErrorCode, message: str) -> FrameError:
    """Returns the error for a frame. A frame of an unknown type must be strict JSON, too."""
    if code == "unknown_type":
        try:
            check_strict(text)
        except (StrictError, UnicodeError):
            code, message = "bad_message", _INVALID
    return FrameError(code, message, head.id if head else None)


def decode_server_frame(text: bytes | str) -> ServerFrame | None:
    """Returns the frame that a gateway sent, or None for a type of a later version, which clients ignore.

    Raises:
        DecodeError: `text` is not a frame of this protocol.
    """
    try:
        frame: ServerFrame = _server_decoder.decode(text)
    except msgspec.ValidationError as cause:
        if _is_unknown(text):
            return None
        raise DecodeError("not a frame of this protocol") from cause
    except (msgspec.DecodeError, UnicodeError, RecursionError) as cause:
        raise DecodeError("not a frame of this protocol") from cause
    return frame


_SERVER_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in ServerFrame.__args__)


def _is_unknown(text: bytes | str) -> bool:
    try:
        return _head_decoder.decode(text).type not in _SERVER_TYPES
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def encode_frame(frame: ClientFrame | ServerFrame) -> bytes:
    """Returns the JSON of a frame."""
    return _encoder.encode(frame)


def parse_position(position: PositionJson | None) -> Position | None:
    """Returns a client's position, or None if no gateway can have sent such a position."""
    if position is None or not 0 <= position.revision <= MAX_REVISION:
        return None
    try:
        return Position(parse_epoch(position.epoch), Revision(position.revision))
    except DecodeError:
        return None


def encode_position(position: Position) -> PositionJson:
    """Returns a position as a client sends it."""
    return PositionJson(position.epoch, position.revision)
