"""The doorbell of Redis: one message per changed account per batch, and one of progress per lane.

A delta is a short header and the ready frame, as each client of the account is sent it: the projector writes
it once, and whoever relays it only looks at it. A frame without a balance is a header alone: it says that the
account moved, and who follows it asks Postgres for more.
"""

import struct
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from sys import intern
from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json
from msgspec import DecodeError as _NotJson

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Lane, Revision, account_id, channel_name
from livebalance.wire.timestamp import MAX_MILLIS, Millis, millis, rfc3339

FORMAT = 2
MAX_TRANSFERS = 16 * 1024  # bytes of transfers in one message; with more, the header goes alone

_HEADER = struct.Struct(">BBH")  # format, flags, lane
_PROGRESS = struct.Struct(">BBH8sq")  # format, flags, lane, epoch, as_of
_GONE = 1
_BEHIND = 1


class DeltaParts(NamedTuple):
    """What the text of a delta is made of: what changed in one account between two revisions of an epoch."""

    epoch: Epoch
    from_: Revision
    to: Revision
    recorded_at: Millis  # the Kafka time of the newest record in it
    balance: bytes  # ready JSON (view.balance_part); empty in a header alone and in a page with more to come
    transfers: bytes  # ready JSON (view.transfers_part); may be empty


class Delta(Struct, frozen=True, gc=False):
    """One message: the text of a frame, and what one need not read in it."""

    lane: Lane
    epoch: Epoch
    from_: Revision
    to: Revision
    text: bytes
    header_only: bool = False
    gone: bool = False  # the account was erased


class ProgressMessage(NamedTuple):
    """A lane's own word: complete as of `as_of`; while `behind` it publishes no deltas."""

    lane: Lane
    epoch: Epoch
    as_of: Millis
    behind: bool


def text_of(account: AccountId, parts: DeltaParts, *, more: bool = False) -> bytes:
    """Equal to the encoding of a DeltaFrame, without parsing anything."""
    return (
        b'{"type":"delta","channel":"%b","epoch":"%b","from":%d,"to":%d,"transfers":[%b],"recorded_at":"%b"%b%b}'
        % (
            channel_name(account).encode(),
            parts.epoch.encode(),
            parts.from_,
            parts.to,
            parts.transfers,
            rfc3339(parts.recorded_at).encode(),
            b',"more":true' if more else b"",
            b',"balance":' + parts.balance if parts.balance else b"",
        )
    )


def written(account: AccountId, lane: Lane, parts: DeltaParts, *, gone: bool = False) -> Delta:
    text = text_of(account, parts)
    return Delta(lane, parts.epoch, parts.from_, parts.to, text, not parts.balance, gone)


def encode_delta(delta: Delta) -> bytes:
    return _HEADER.pack(FORMAT, _GONE if delta.gone else 0, delta.lane) + delta.text


class _Object(Struct):
    """Any object: its fields are passed over, and nothing is made of them."""


_Revision = Annotated[Revision, Meta(ge=0, le=MAX_REVISION)]
_Time = Annotated[datetime, Meta(tz=True)]


class _Said(Struct, rename={"from_": "from"}, gc=False):
    """What is looked at in a text; of what stands in it twice, the last counts, as for every client."""

    type: Literal["delta"]
    channel: str
    epoch: Epoch
    from_: _Revision
    to: _Revision
    recorded_at: _Time
    transfers: list[_Object]
    balance: _Object | UnsetType | None = UNSET


_said = json.Decoder(_Said)


def decode_delta(account: AccountId, message: bytes) -> Delta:
    """Raises DecodeError for another format, impossible revisions or times, and for a text that is no frame,
    or one of another account: whatever it says, it says of this one.
    """
    if len(message) < _HEADER.size or message[0] != FORMAT:
        raise DecodeError("not a delta")
    _, flags, lane = _HEADER.unpack_from(message)
    text = message[_HEADER.size :]
    try:
        said = _said.decode(text)
        text.decode()  # what is passed over may be no UTF-8
    except (_NotJson, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("the text of a delta is no frame") from cause
    if said.channel != channel_name(account):
        raise DecodeError("a delta of another account")
    if said.from_ >= said.to:
        raise DecodeError("revisions of a delta do not grow")
    epoch = Epoch(intern(said.epoch))  # the same of thousands
    return Delta(lane, epoch, said.from_, said.to, text, said.balance is UNSET, flags & _GONE != 0)


class _Read(Struct, rename={"from_": "from"}):
    epoch: Epoch
    from_: Revision
    to: Revision
    recorded_at: datetime
    transfers: Raw
    balance: Raw | UnsetType = UNSET


_read = json.Decoder(_Read)


def parts_of(text: bytes) -> DeltaParts:
    """What a text was made of, byte for byte."""
    read = _read.decode(text)
    balance = b"" if read.balance is UNSET else bytes(read.balance)
    transfers = bytes(read.transfers)[1:-1]  # a list, in brackets
    return DeltaParts(read.epoch, read.from_, read.to, millis(read.recorded_at), balance, transfers)


def merge(account: AccountId, texts: Iterable[bytes]) -> bytes:
    """All as one; the last balance stands. Each must begin where the one before ends, in one epoch."""
    run = [parts_of(text) for text in texts]
    for one, following in pairwise(run):
        if (one.epoch, one.to) != (following.epoch, following.from_):
            raise ValueError("deltas that do not touch cannot merge")
    transfers = b",".join([one.transfers for one in run if one.transfers])
    return text_of(account, run[-1]._replace(from_=run[0].from_, transfers=transfers))


def encode_progress(progress: ProgressMessage) -> bytes:
    flags = _BEHIND if progress.behind else 0
    return _PROGRESS.pack(FORMAT, flags, progress.lane, bytes.fromhex(progress.epoch), progress.as_of)


def decode_progress(message: bytes) -> ProgressMessage:
    """Raises DecodeError."""
    if len(message) != _PROGRESS.size or message[0] != FORMAT:
        raise DecodeError("not a progress message")
    _, flags, lane, epoch, as_of = _PROGRESS.unpack(message)
    if not 0 <= as_of <= MAX_MILLIS:
        raise DecodeError("time of a progress message is not within 1970..9999")
    return ProgressMessage(Lane(lane), Epoch(epoch.hex()), Millis(as_of), bool(flags & _BEHIND))


def redis_account(prefix: str, account: AccountId) -> str:
    return f"{prefix}account:{account}"


def redis_lane(prefix: str, lane: Lane) -> str:
    return f"{prefix}lane:{lane}"


def redis_revoked(prefix: str) -> str:
    """Where gateways are told that rights were taken back; what the message says is not read."""
    return f"{prefix}revoked"


def account_of(prefix: str, channel: str) -> AccountId | None:
    """The account whose deltas `channel` carries; None for another channel. Raises DecodeError."""
    start = f"{prefix}account:"
    return account_id(channel[len(start) :]) if channel.startswith(start) else None
