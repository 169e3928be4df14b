"""The names of things: accounts, transfers, lanes, offsets, and the position of a state."""

import re
from typing import NewType

from msgspec import Struct

from livebalance.wire.errors import DecodeError

AccountId = NewType("AccountId", str)
TransferId = NewType("TransferId", str)
Lane = NewType("Lane", int)  # one partition number of both topics
Offset = NewType("Offset", int)  # always the next record to read, unless a name says otherwise
Revision = NewType("Revision", int)  # of one account inside one epoch; 0 = nothing applied yet
Epoch = NewType("Epoch", str)  # 16 hex digits, compared for equality only

MAX_REVISION = 2**53 - 1  # what a JavaScript number holds exactly
ZERO = Revision(0)

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_EPOCH = re.compile(r"[0-9a-f]{16}", re.ASCII)
_CHANNEL = "account:"


class Position(Struct, frozen=True, gc=False):
    """A state of one account: the projection's epoch and the account's revision in it."""

    epoch: Epoch
    revision: Revision


def is_id(text: str) -> bool:
    """Whether `text` may name an account or a transfer."""
    return _ID.fullmatch(text) is not None


def account_id(text: str) -> AccountId:
    """Raises DecodeError unless `text` is 1-64 of `A-Za-z0-9._-`. The error does not echo it."""
    if not is_id(text):
        raise DecodeError("bad account id")
    return AccountId(text)


def epoch(text: str) -> Epoch:
    """Raises DecodeError unless `text` is 16 lower-case hex digits."""
    if _EPOCH.fullmatch(text) is None:
        raise DecodeError("bad epoch")
    return Epoch(text)


def channel_name(account: AccountId) -> str:
    return _CHANNEL + account


def channel_account(channel: str) -> AccountId:
    """The account of `account:<id>`. Raises DecodeError for any other text."""
    if not channel.startswith(_CHANNEL):
        raise DecodeError("bad channel")
    return account_id(channel.removeprefix(_CHANNEL))
