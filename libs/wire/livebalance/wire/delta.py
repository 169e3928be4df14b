"""Messages that projectors publish to Redis: a delta per changed account and batch, and progress per lane.

A delta is a short binary header and a frame as clients receive it. The projector encodes the frame once, and
gateways relay it (decision 14). Format 4 has the positions in the header as well, so that gateways need not
parse the frame (decision 37). A frame without a balance is a bare header: it announces that the account
changed, and gateways read the change from Postgres (docs/guarantees.md#publishing).
"""

import struct
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from sys import intern
from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json
from msgspec import DecodeError as _JsonError

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import (
    MAX_REVISION,
    AccountId,
    Epoch,
    Lane,
    Position,
    Revision,
    channel_name,
)
from livebalance.wire.timestamp import MAX_MILLIS, Millis, format_rfc3339, millis

FORMAT = 2
POSITIONS_FORMAT = 4  # of a delta with its positions in the header; 3 is that of a signature
MAX_TRANSFERS_BYTES = 16 * 1024  # of transfers in a message; with more, only the header is published

_HEADER = struct.Struct(">BBH")  # format, flags, lane
_POSITIONS = struct.Struct(">BBH8sQQ")  # format, flags, lane, epoch, from, to
_PROGRESS = struct.Struct(">BBH8sq")  # format, flags, lane, epoch, as_of
_GONE_FLAG = 1
_HEADER_ONLY_FLAG = 2  # in POSITIONS_FORMAT
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
    """A delta message: its frame as text, and the positions that the frame leads from and to."""

    lane: Lane
    before: Position
    after: Position
    text: bytes
    header_only: bool = False
    gone: bool = False  # the account was erased

    @property
    def epoch(self) -> Epoch:
        """The epoch of both positions."""
        return self.after.epoch

    @property
    def from_(self) -> Revision:
        """The revision that the delta leads from."""
        return self.before.revision

    @property
    def to(self) -> Revision:
        """The revision that the delta leads to."""
        return self.after.revision


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
    return b'%b%b],"recorded_at":"%b"%b%b}' % (
        _frame_head(account, parts.epoch, parts.from_, parts.to),
        parts.transfers,
        format_rfc3339(parts.recorded_at).encode(),
        b',"more":true' if more else b"",
        b',"balance":' + parts.balance if parts.balance else b"",
    )


def _frame_head(account: AccountId, epoch: Epoch, from_: int, to: int) -> bytes:
    """Returns the bytes with which the frame of a delta begins, up to its transfers."""
    # Formatting bytes takes twice as long.
    positions = f'"epoch":"{epoch}","from":{from_},"to":{to}'
    return f'{{"type":"delta","channel":"account:{account}",{positions},"transfers":['.encode()


def make_delta(account: AccountId, lane: Lane, parts: DeltaParts, *, gone: bool = False) -> Delta:
    """Returns the delta of `account` with its frame encoded. `gone` marks an erased account."""
    text = encode_delta_frame(account, parts)
    before, after = Position(parts.epoch, parts.from_), Position(parts.epoch, parts.to)
    return Delta(lane, before, after, text, not parts.balance, gone)


def encode_delta(delta: Delta, *, positions: bool = False) -> bytes:
    """Returns the Redis message of a delta, with `positions` in its header or without.

    Gateways of the previous release read only messages without.
    """
    flags = _GONE_FLAG if delta.gone else 0
    if not positions:
        return _HEADER.pack(FORMAT, flags, delta.lane) + delta.text
    flags |= _HEADER_ONLY_FLAG if delta.header_only else 0
    epoch = bytes.fromhex(delta.epoch)
    return _POSITIONS.pack(POSITIONS_FORMAT, flags, delta.lane, epoch, delta.from_, delta.to) + delta.text


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


def read_header(account: AccountId, message: bytes) -> Delta | None:
    """Returns the delta of `account` by the positions in the header, without parsing the frame.

    The frame begins with the account and the positions of the header, as every projector encodes it. What
    follows is not checked. Returns None if anything is unusual: `decode_delta` decides then.
    """
    if len(message) < _POSITIONS.size:
        return None
    format_, flags, lane, epoch_bytes, from_, to = _POSITIONS.unpack_from(message)
    if format_ != POSITIONS_FORMAT or flags or not from_ < to <= MAX_REVISION:
        return None
    epoch, text = _epoch(epoch_bytes), message[_POSITIONS.size :]
    if not (text.startswith(_frame_head(account, epoch, from_, to)) and text.isascii()):
        return None
    return Delta(lane, Position(epoch, from_), Position(epoch, to), text)


@lru_cache(maxsize=64)
def _epoch(epoch: bytes) -> Epoch:
    return Epoch(intern(epoch.hex()))


def decode_delta(account: AccountId, message: bytes) -> Delta:
    """Returns the delta in a message that was received on the Redis channel of `account`.

    Raises:
        DecodeError: `message` has another format, its text is not a delta frame of this account, its
            revisions do not increase, or its header says something else than its text.
    """
    format_ = message[0] if message else 0
    header = _POSITIONS if format_ == POSITIONS_FORMAT else _HEADER
    if len(message) < header.size or format_ not in (FORMAT, POSITIONS_FORMAT):
        raise DecodeError("not a delta message of this format")
    _, flags, lane, *positions = header.unpack_from(message)
    text = message[header.size :]
    delta = _decode_frame(account, text, lane, gone=flags & _GONE_FLAG != 0)
    if positions:
        epoch, from_, to = positions
        header_only = flags & _HEADER_ONLY_FLAG != 0
        if (epoch.hex(), from_, to, header_only) != (delta.epoch, delta.from_, delta.to, delta.header_only):
            raise DecodeError("the header of a delta message says something else than its text")
    return delta


def _decode_frame(account: AccountId, text: bytes, lane: Lane, *, gone: bool) -> Delta:
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
    before, after = Position(epoch, fields.from_), Position(epoch, fields.to)
    return Delta(lane, before, after, text, fields.balance is UNSET, gone)


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
