"""Where a reader of a stream is in all its accounts: the id of each event with data, opaque to clients."""

from collections.abc import Mapping

from livebalance.gateway.seal import opened, sealed
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Position, Revision, account_id, epoch

ACCOUNTS = 16  # of one stream; so many positions fit a header
LONGEST = 4096  # characters

_FORM = "e1"  # another form, later, is told from this one

Positions = Mapping[AccountId, Position]


def bookmark(positions: Positions) -> str:
    """Of up to `ACCOUNTS` accounts."""
    told = ",".join(f"{account}:{at.epoch}:{at.revision}" for account, at in sorted(positions.items()))
    return sealed(f"{_FORM}/{told}")


def positions(mark: str) -> dict[AccountId, Position]:
    """Raises DecodeError unless `bookmark` made it."""
    if len(mark) > LONGEST:
        raise DecodeError("bad cursor")
    form, _, told = opened(mark).partition("/")
    if form != _FORM:
        raise DecodeError("bad cursor")
    found = dict(map(_position, told.split(",") if told else ()))
    if len(found) > ACCOUNTS or bookmark(found) != mark:
        raise DecodeError("bad cursor")
    return found


def _position(told: str) -> tuple[AccountId, Position]:
    parts = told.split(":")
    if len(parts) != 3 or not parts[2].isdecimal() or len(parts[2]) > len(str(MAX_REVISION)):
        raise DecodeError("bad cursor")
    account, life, revision = parts
    if int(revision) > MAX_REVISION:
        raise DecodeError("bad cursor")
    return account_id(account), Position(epoch(life), Revision(int(revision)))
