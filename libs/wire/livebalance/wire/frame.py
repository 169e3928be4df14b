"""The frames of the socket `/ws`, subprotocol livebalance.v1: JSON text, each with a `type`.

Unknown fields are ignored on both sides. An absent field is UNSET here; null is null.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from livebalance.wire import json_types
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, Position, Revision, epoch
from livebalance.wire.strict_json import StrictError, check
from livebalance.wire.views import BalanceView, TransferView

SUBPROTOCOL = "livebalance.v1"
RETIRED = ("livebalance.v0",)  # versions that are served no more: who knows no other is told so (4506)
MAX_CLIENT_FRAME = 16 * 1024  # bytes

# Echoed, so it must be short and survive a JavaScript number.
RequestId = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=0, le=MAX_REVISION)]
SnapshotReason = Literal["subscribed", "too_far", "ahead", "epoch"]


class _Frame(Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True):
    pass


# --- what a client sends


class PositionJson(Struct, frozen=True):
    """A position as a client names it. `position` checks it: a strange one is answered, never an error."""

    epoch: str
    revision: Annotated[int, Meta(ge=-MAX_REVISION, le=MAX_REVISION)]


class ChannelRequest(Struct, frozen=True, omit_defaults=True):
    """A channel that is asked for, and the position of the state the client has of it, if any."""

    channel: json_types.Channel
    position: PositionJson | None = None


class Auth(_Frame, frozen=True):
    """The first message, unless a cookie said it: who this is. Answered with `welcome`, or a close."""

    token: str


class Refresh(_Frame, frozen=True):
    """Another token of the same subject; subscriptions and positions stay."""

    id: RequestId
    token: str


class Subscribe(_Frame, frozen=True):
    """Answered with `ok`, and for each channel with a snapshot, or with what is missing from its position."""

    id: RequestId
    channels: list[ChannelRequest]


class Unsubscribe(_Frame, frozen=True):
    """Nothing more of these channels. Answered with `ok`."""

    id: RequestId
    channels: list[json_types.Channel]


class Rate(_Frame, frozen=True):
    """Data at most so often; of each channel what came meanwhile in one delta. None: as they come."""

    id: RequestId
    max_per_second: Annotated[float, Meta(gt=0, le=1000)] | None


class Ping(_Frame, frozen=True):
    """Answered with `ok`."""

    id: RequestId


ClientFrame = Auth | Refresh | Subscribe | Unsubscribe | Rate | Ping


# --- what a gateway sends


class Limits(Struct, frozen=True):
    """What holds at this gateway."""

    message_bytes: int
    subscriptions: int
    resume_max: int  # revisions a position may be behind and still be answered with deltas
    messages_per_second: float | UnsetType = UNSET  # over time; three times as many at once
    connections_per_address: int | UnsetType = UNSET
    connections_per_user: int | UnsetType = UNSET


class Welcome(_Frame, frozen=True):
    """Who this client is was taken; the first frame it gets."""

    session: str
    gateway: str
    version: str
    features: list[str]
    epoch: json_types.Epoch | None  # null while Postgres cannot be asked
    server_time: json_types.Time
    heartbeat_ms: int
    limits: Limits
    expires_at: json_types.Time | UnsetType = UNSET  # of the token


class Gap(Struct, frozen=True, rename={"from_": "from"}):
    """Revisions left out by a snapshot; REST fills them by `after_revision`."""

    from_: json_types.Revision
    to: json_types.Revision


class Snapshot(_Frame, frozen=True):
    """The whole state at a revision; `transfers` newest first, `cursor` for older ones."""

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
    """Applies only to a state at `from`; `transfers` in order. A page with `more` carries no balance."""

    channel: json_types.Channel
    epoch: json_types.Epoch
    from_: json_types.Revision
    to: json_types.Revision
    transfers: list[TransferView]
    recorded_at: json_types.Time
    more: bool = False
    balance: BalanceView | UnsetType | None = UNSET


class Heartbeat(_Frame, frozen=True):
    """Every `heartbeat_ms`. All that Kafka had until `as_of` is in what was sent; null: not known yet."""

    server_time: json_types.Time
    as_of: json_types.Time | None


class Status(_Frame, frozen=True):
    """How the whole pipeline is, in one word; with a reason if it is not well."""

    state: Literal["live", "catching_up", "stalled"]
    since: json_types.Time
    reason: str | UnsetType = UNSET


class Ok(_Frame, frozen=True):
    """The request of this `id` was served."""

    id: RequestId


class Error(_Frame, frozen=True):
    """A request, or one channel of it, was refused; `temporary`: it may be asked again."""

    code: str
    message: str
    temporary: bool
    id: RequestId | UnsetType = UNSET
    channel: json_types.Channel | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET


class Unsubscribed(_Frame, frozen=True):
    """Nothing more of this channel: `gone` (the account was erased) or `revoked`."""

    channel: json_types.Channel
    code: str
    message: str


class AuthExpiring(_Frame, frozen=True, tag="auth_expiring"):
    """The token ends soon: `refresh` with another, or the socket is closed with 4001."""

    expires_at: json_types.Time


class Goaway(_Frame, frozen=True):
    """This gateway goes: it closes this socket soon, with a time to come back."""

    reason: str
    reconnect_within_ms: int


ServerFrame = (
    Welcome | Snapshot | DeltaFrame | Heartbeat | Status | Ok | Error | Unsubscribed | AuthExpiring | Goaway
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
    """A client's frame that is refused; `code` is the error code it is answered with.

    `retry_after_ms`: the same frame may be taken then; None: never.
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
_head = msgspec.json.Decoder(_Head)
_client: dict[str, msgspec.json.Decoder[Any]] = {
    "auth": msgspec.json.Decoder(Auth),
    "refresh": msgspec.json.Decoder(Refresh),
    "subscribe": msgspec.json.Decoder(Subscribe),
    "unsubscribe": msgspec.json.Decoder(Unsubscribe),
    "rate": msgspec.json.Decoder(Rate),
    "ping": msgspec.json.Decoder(Ping),
}
_server = msgspec.json.Decoder(ServerFrame)


def decode_client(text: bytes | str) -> ClientFrame:
    """Raises FrameError and nothing else."""
    head: _Head | None = None
    try:
        head = _head.decode(text)
        frame: ClientFrame = _client[head.type].decode(text)
        if not _is_plain(text, frame):
            check(text)
    except KeyError as cause:
        raise _refused(text, head, "unknown_type", "this type is not known") from cause
    except (StrictError, msgspec.DecodeError, UnicodeError, RecursionError) as cause:
        raise _refused(text, head, "bad_message", "not a message of this protocol") from cause
    return frame


def _is_plain(text: bytes | str, frame: ClientFrame) -> bool:
    """Every field stands in it once and no other does: then each reader sees the same, and nothing is deep.

    As many colons as it has when we write it: an equal key, or a field we do not know, would add one.
    """
    data = text.encode() if isinstance(text, str) else text
    return b"\\" not in data and data.count(b":") == _encoder.encode(frame).count(b":")


def _refused(text: bytes | str, head: _Head | None, code: ErrorCode, message: str) -> FrameError:
    """A message of a type we do not know has to be JSON that every reader reads alike, too."""
    if code == "unknown_type":
        try:
            check(text)
        except (StrictError, UnicodeError):
            code, message = "bad_message", "not a message of this protocol"
    return FrameError(code, message, head.id if head else None)


def decode_server(text: bytes | str) -> ServerFrame | None:
    """None for a type this client does not know (it is ignored). Raises DecodeError."""
    try:
        frame: ServerFrame = _server.decode(text)
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
        return _head.decode(text).type not in _SERVER_TYPES
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def encode(frame: ClientFrame | ServerFrame) -> bytes:
    return _encoder.encode(frame)


def position(at: PositionJson | None) -> Position | None:
    """The position a client names, or None for one that could never have been given out."""
    if at is None or not 0 <= at.revision <= MAX_REVISION:
        return None
    try:
        return Position(epoch(at.epoch), Revision(at.revision))
    except DecodeError:
        return None


def named(at: Position) -> PositionJson:
    return PositionJson(at.epoch, at.revision)
