"""The doorbell of Redis: one message per changed account per batch, and one of progress per lane.

A delta is a fixed header and the ready parts of its frame, so that relaying and merging are slicing and
joining. A header alone (no parts) says only that the account moved: who follows it asks Postgres for more.
"""

import struct
from typing import NamedTuple

from msgspec import DecodeError as _NotJson
from msgspec import Struct, json

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Lane, Revision, account_id
from livebalance.wire.instant import MAX_MILLIS, Millis

FORMAT = 1
MAX_TRANSFERS = 16 * 1024  # bytes of transfers in one message; with more, the header goes alone

_HEADER = struct.Struct(">BBH8sQQqII")  # format, flags, lane, epoch, from, to, recorded_at, two lengths
_PROGRESS = struct.Struct(">BBH8sq")  # format, flags, lane, epoch, as_of
_GONE = 1
_BEHIND = 1


class Delta(NamedTuple):
    """What changed in one account between two revisions of one epoch."""

    lane: Lane
    epoch: Epoch
    from_: Revision
    to: Revision
    recorded_at: Millis  # the Kafka time of the newest record in it
    balance: bytes  # ready JSON (view.balance_part); empty in a header alone and in a page with more to come
    transfers: bytes  # ready JSON (view.transfers_part); may be empty
    gone: bool = False  # the account was erased

    @property
    def header_alone(self) -> bool:
        return not self.balance

    @property
    def size(self) -> int:
        """Bytes in Redis."""
        return _HEADER.size + len(self.balance) + len(self.transfers)


class Progress(NamedTuple):
    """A lane's own word: complete as of `as_of`; while `behind` it publishes no deltas."""

    lane: Lane
    epoch: Epoch
    as_of: Millis
    behind: bool


def encode_delta(delta: Delta) -> bytes:
    parts = (b"", b"") if len(delta.transfers) > MAX_TRANSFERS else (delta.balance, delta.transfers)
    header = _HEADER.pack(
        FORMAT,
        _GONE if delta.gone else 0,
        delta.lane,
        bytes.fromhex(delta.epoch),
        delta.from_,
        delta.to,
        delta.recorded_at,
        len(parts[0]),
        len(parts[1]),
    )
    return header + parts[0] + parts[1]


def decode_delta(message: bytes) -> Delta:
    """Raises DecodeError for another format, wrong lengths, impossible revisions or times, and for parts that
    would break the frame they become a part of: whatever they say, they say it of this account.
    """
    if len(message) < _HEADER.size or message[0] != FORMAT:
        raise DecodeError("not a delta")
    _, flags, lane, epoch, from_, to, at, balance, transfers = _HEADER.unpack_from(message)
    middle = _HEADER.size + balance
    if middle + transfers != len(message):
        raise DecodeError("lengths of a delta do not fit")
    if not from_ < to <= MAX_REVISION:
        raise DecodeError("revisions of a delta do not grow")
    if not 0 <= at <= MAX_MILLIS:
        raise DecodeError("time of a delta is not within 1970..9999")
    parts = message[_HEADER.size : middle], message[middle:]
    _check_parts(*parts)
    return Delta(
        Lane(lane), Epoch(epoch.hex()), Revision(from_), Revision(to), Millis(at), *parts, bool(flags & _GONE)
    )


class _Object(Struct):
    """Any object: its fields are passed over, and nothing is made of them."""


_balance = json.Decoder(_Object | None)
_transfers = json.Decoder(list[_Object])


def _check_parts(balance: bytes, transfers: bytes) -> None:
    """An object or null; objects with commas between them; UTF-8."""
    try:
        if balance:
            _balance.decode(balance)
            balance.decode()
        if transfers:
            _transfers.decode(b"[%b]" % transfers)
            transfers.decode()
    except (_NotJson, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("parts of a delta are no objects") from cause


def encode_progress(progress: Progress) -> bytes:
    flags = _BEHIND if progress.behind else 0
    return _PROGRESS.pack(FORMAT, flags, progress.lane, bytes.fromhex(progress.epoch), progress.as_of)


def decode_progress(message: bytes) -> Progress:
    """Raises DecodeError."""
    if len(message) != _PROGRESS.size or message[0] != FORMAT:
        raise DecodeError("not a progress message")
    _, flags, lane, epoch, as_of = _PROGRESS.unpack(message)
    if not 0 <= as_of <= MAX_MILLIS:
        raise DecodeError("time of a progress message is not within 1970..9999")
    return Progress(Lane(lane), Epoch(epoch.hex()), Millis(as_of), bool(flags & _BEHIND))


def merge(first: Delta, second: Delta) -> Delta:
    """Both as one, `first.from_..second.to`; the later balance stands. They must touch, in one epoch."""
    if (first.epoch, first.to) != (second.epoch, second.from_):
        raise ValueError("deltas that do not touch cannot merge")
    if first.header_alone or second.header_alone:
        return second._replace(from_=first.from_, balance=b"", transfers=b"")
    joined = b",".join(part for part in (first.transfers, second.transfers) if part)
    return second._replace(from_=first.from_, transfers=joined)


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
