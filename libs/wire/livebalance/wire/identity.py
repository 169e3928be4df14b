"""Names of accounts, transfers, lanes, offsets and epochs, and the position of an account's state."""

import re
from typing import Literal, NamedTuple, NewType

from msgspec import Struct

from livebalance.wire.errors import DecodeError

AccountId = NewType("AccountId", str)
TransferId = NewType("TransferId", str)
Lane = NewType("Lane", int)  # a partition number, the same for both topics
Offset = NewType("Offset", int)  # the next record to read, unless a name says otherwise
Revision = NewType("Revision", int)  # of one account within one epoch (docs/guarantees.md#revision)
Epoch = NewType("Epoch", str)  # 16 hex digits, compared for equality only (docs/guarantees.md#epoch)

MAX_REVISION = 2**53 - 1  # the largest integer that a JavaScript number holds exactly
INITIAL_REVISION = Revision(0)  # no record is applied yet

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SET = re.compile(r"(prefix):([A-Za-z0-9._-]{0,64})|(client):([A-Za-z0-9._-]{1,64})", re.ASCII)
_EPOCH = re.compile(r"[0-9a-f]{16}", re.ASCII)
_CHANNEL = "account:"


class Position(Struct, frozen=True, gc=False):
    """Identifies a state of an account: the epoch and the account's revision in it."""

    epoch: Epoch
    revision: Revision


def is_id(text: str) -> bool:
    """Returns whether `text` is valid as the id of an account or a transfer."""
    return _ID.fullmatch(text) is not None


def parse_account_id(text: str) -> AccountId:
    """Returns `text` as an account id.

    Raises:
        DecodeError: `text` is not 1-64 characters of `A-Za-z0-9._-`. The error does not repeat it.
    """
    if not is_id(text):
        raise DecodeError("bad account id")
    return AccountId(text)


def parse_epoch(text: str) -> Epoch:
    """Returns `text` as an epoch.

    Raises:
        DecodeError: `text` is not 16 lower-case hex digits.
    """
    if _EPOCH.fullmatch(text) is None:
        raise DecodeError("invalid epoch")
    return Epoch(text)


def channel_name(account: AccountId) -> str:
    """Returns the name of the channel that a client subscribes to for `account`."""
    return _CHANNEL + account


def channel_account(channel: str) -> AccountId:
    """Returns the account of the channel `account:<id>`.

    Raises:
        DecodeError: `channel` is not such a name.
    """
    if not channel.startswith(_CHANNEL):
        raise DecodeError("invalid channel name")
    return parse_account_id(channel.removeprefix(_CHANNEL))


class SetName(NamedTuple):
    """Names a set of accounts: those whose ids have a prefix, or those of a client."""

    kind: Literal["prefix", "client"]
    value: str

    @property
    def channel(self) -> str:
        """The name of the channel that a client subscribes to."""
        return f"{self.kind}:{self.value}"


def parse_set(channel: str) -> SetName | None:
    """Returns the set of the channel `prefix:<prefix>` or `client:<client id>`, or None for another name."""
    match = _SET.fullmatch(channel)
    if match is None:
        return None
    prefix, client = match[2], match[4]
    return SetName("client", client) if prefix is None else SetName("prefix", prefix)
