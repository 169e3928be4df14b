"""Messages that projectors publish to Redis: a delta per changed account and batch, and progress per lane.

A delta is a short binary header and a frame as clients receive it. The projector encodes the frame once, and
gateways relay it without parsing it (decision 14). A frame without a balance is a bare header: it announces
that the account changed, and gateways read the change from Postgres (docs/guarantees.md#publishing).
"""

import struct
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from sys import intern
from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json
from msgspec import DecodeError as _JsonError

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Lane, Revision, channel_name
from livebalance.wire.timestamp import MAX_MILLIS, Millis, format_rfc3339, millis

FORMAT = 2
MAX_TRANSFERS_BYTES = 16 * 1024  # of transfers in a message; with more, only the header is published

_HEADER = struct.Struct(">BBH")  # format, flags, lane
_PROGRESS = struct.Struct(">BBH8sq")  # format, flags, lane, epoch, as_of
_GONE_FLAG = 1
_BEHIND_FLAG = 1


class DeltaParts(NamedTuple):
    """Content of a delta's frame: the change of one account between two revisions of an epoch."""

    epoch: Epoch
    from_: Revision
    to: Revision
    recorded_at: Millis  # Kafka time of the newest record
    balance: bytes  # from views.balance_json; empty in a bare header, and in a page with `more`
    transfers: bytes  # from views.transfers_json; may be empty


class Delta(Struct, frozen=True, gc=False):
    """A delta message: its frame as text, and the fields that a gateway reads without parsing the text."""

    lane: Lane
    epoch: Epoch
    from_: Revision
    to: Revision
    text: bytes
    header_only: bool = False
    gone: bool = False  # the account was erased


class ProgressMessage(NamedTuple):
    """States that a lane is complete as of `as_of`. While a lane is `behind`, it publishes no deltas."""

    lane: Lane
    epoch: Epoch
    as_of: Millis
    behind: bool


def encode_delta_frame(account: AccountId, parts: DeltaParts, *, more: bool = False) -> bytes:
    """Returns the JSON of a DeltaFrame, as `frame.encode_frame` would, without building the frame.

    Args:
        account: The account of the channel.
        parts: The content of the frame.
        more: Whether another page of the same recovery follows.
    """
    return (
        b'{"type":"delta","channel":"%b","epoch":"%b","from":%d,"to":%d,"transfers":[%b],"recorded_at":"%b"%b%b}'
        % (
            channel_name(account).encode(),
            parts.epoch.encode(),
            parts.from_,
            parts.to,
            parts.transfers,
            format_rfc3339(parts.recorded_at).encode(),
            b',"more":true' if more else b"",
            b',"balance":' + parts.balance if parts.balance else b"",
        )
    )


def make_delta(account: AccountId, lane: Lane, parts: DeltaParts, *, gone: bool = False) -> Delta:
    """Returns the delta of `account` with its frame encoded. `gone` marks an erased account."""
    text = encode_delta_frame(account, parts)
    return Delta(lane, parts.epoch, parts.from_, parts.to, text, not parts.balance, gone)


def encode_delta(delta: Delta) -> bytes:
    """Returns the Redis message of a delta."""
    return _HEADER.pack(FORMAT, _GONE_FLAG if delta.gone else 0, delta.lane) + delta.text


class _AnyObject(Struct):
    """Any JSON object; its fields are skipped."""


_Revision = Annotated[Revision, Meta(ge=0, le=MAX_REVISION)]
_Time = Annotated[datetime, Meta(tz=True)]


class _FrameFields(Struct, rename={"from_": "from"}, gc=False):
    """Fields of a frame that are validated. If a key occurs twice, the last value counts, as in clients."""

    type: Literal["delta"]
    channel: str
    epoch: Epoch
    from_: _Revision
    to: _Revision
    recorded_at: _Time
    transfers: list[_AnyObject]
    balance: _AnyObject | UnsetType | None = UNSET


_fields_decoder = json.Decoder(_FrameFields)


def decode_delta(account: AccountId, message: bytes) -> Delta:
    """Returns the delta in a message that was received on the Redis channel of `account`.

    Raises:
        DecodeError: `message` has another format, its text is not a delta frame of this account, or its
            revisions do not increase.
    """
    if len(message) < _HEADER.size or message[0] != FORMAT:
        raise DecodeError("not a delta message of this format")
    _, flags, lane = _HEADER.unpack_from(message)
    text = message[_HEADER.size :]
    try:
        fields = _fields_decoder.decode(text)
        text.decode()  # msgspec does not check the UTF-8 of fields that it skips
    except (_JsonError, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("the text of a delta message is not a delta frame") from cause
    if fields.channel != channel_name(account):
        raise DecodeError("the delta is for another account than its Redis channel")
    if fields.from_ >= fields.to:
        raise DecodeError("the revisions of a delta do not increase")
    epoch = Epoch(intern(fields.epoch))  # a gateway keeps thousands of deltas with the same epoch
    return Delta(lane, epoch, fields.from_, fields.to, text, fields.balance is UNSET, flags & _GONE_FLAG != 0)


class _RawParts(Struct, rename={"from_": "from"}):
    epoch: Epoch
    from_: Revision
    to: Revision
    recorded_at: datetime
    transfers: Raw
    balance: Raw | UnsetType = UNSET


_parts_decoder = json.Decoder(_RawParts)


def split_delta_frame(text: bytes) -> DeltaParts:
    """Returns the parts that `encode_delta_frame` made `text` of, byte for byte."""
    raw = _parts_decoder.decode(text)
    balance = b"" if raw.balance is UNSET else bytes(raw.balance)
    transfers = bytes(raw.transfers)[1:-1]  # without the brackets of the list
    return DeltaParts(raw.epoch, raw.from_, raw.to, millis(raw.recorded_at), balance, transfers)


def merge(account: AccountId, texts: Iterable[bytes]) -> bytes:
    """Returns a single delta frame that replaces the frames `texts`: all transfers, and the last balance.

    Raises:
        ValueError: A frame does not begin at the revision and in the epoch where the previous frame ends.
    """
    parts = [split_delta_frame(text) for text in texts]
    for previous, following in pairwise(parts):
        if (previous.epoch, previous.to) != (following.epoch, following.from_):
            raise ValueError("deltas with a gap between them cannot be merged")
    transfers = b",".join([part.transfers for part in parts if part.transfers])
    return encode_delta_frame(account, parts[-1]._replace(from_=parts[0].from_, transfers=transfers))


def encode_progress(progress: ProgressMessage) -> bytes:
    """Returns the Redis message of a lane's progress."""
    flags = _BEHIND_FLAG if progress.behind else 0
    return _PROGRESS.pack(FORMAT, flags, progress.lane, bytes.fromhex(progress.epoch), progress.as_of)


def decode_progress(message: bytes) -> ProgressMessage:
    """Returns the progress in a message that was received on the Redis channel of a lane.

    Raises:
        DecodeError: `message` has another format, or a time outside 1970-9999.
    """
    if len(message) != _PROGRESS.size or message[0] != FORMAT:
        raise DecodeError("not a progress message of this format")
    _, flags, lane, epoch, as_of = _PROGRESS.unpack(message)
    if not 0 <= as_of <= MAX_MILLIS:
        raise DecodeError("the time of a progress message is not within 1970-9999")
    return ProgressMessage(Lane(lane), Epoch(epoch.hex()), Millis(as_of), bool(flags & _BEHIND_FLAG))


def redis_account_channel(prefix: str, account: AccountId) -> str:
    """Returns the Redis channel that carries the deltas of an account."""
    return f"{prefix}account:{account}"


def redis_lane_channel(prefix: str, lane: Lane) -> str:
    """Returns the Redis channel that carries the progress of a lane."""
    return f"{prefix}lane:{lane}"


def redis_revocation_channel(prefix: str) -> str:
    """Returns the Redis channel that announces revocations. The content of its messages is ignored."""
    return f"{prefix}revoked"
