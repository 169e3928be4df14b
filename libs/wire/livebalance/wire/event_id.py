"""The `id` of a server-sent event: a client's position in each account of its stream."""

from collections.abc import Mapping

from livebalance.wire.cursor import decode_opaque, encode_opaque
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import (
    MAX_REVISION,
    AccountId,
    Position,
    Revision,
    parse_account_id,
    parse_epoch,
)

MAX_ACCOUNTS = 16  # in one stream, so that their positions fit into a request header
MAX_LENGTH = 4096  # characters

_FORMAT = "e1"  # a later format of event ids gets another name

Positions = Mapping[AccountId, Position]


def encode_event_id(positions: Positions) -> str:
    """Returns the event id for the positions of up to `MAX_ACCOUNTS` accounts."""
    fields = ",".join(
        f"{account}:{position.epoch}:{position.revision}" for account, position in sorted(positions.items())
    )
    return encode_opaque(f"{_FORMAT}/{fields}")


def decode_event_id(event_id: str) -> dict[AccountId, Position]:
    """Returns the positions in `event_id`, which a client sent as `Last-Event-ID`.

    Raises:
        DecodeError: `encode_event_id` did not make `event_id`.
    """
    if len(event_id) > MAX_LENGTH:
        raise DecodeError("event id is too long")
    format_, _, fields = decode_opaque(event_id).partition("/")
    if format_ != _FORMAT:
        raise DecodeError("unknown format of event id")
    positions = dict(map(_decode_position, fields.split(",") if fields else ()))
    if len(positions) > MAX_ACCOUNTS or encode_event_id(positions) != event_id:
        raise DecodeError("invalid event id")
    return positions


def _decode_position(field: str) -> tuple[AccountId, Position]:
    parts = field.split(":")
    if len(parts) != 3 or not parts[2].isdecimal() or len(parts[2]) > len(str(MAX_REVISION)):
        raise DecodeError("invalid position in event id")
    account, epoch, revision = parts
    if int(revision) > MAX_REVISION:
        raise DecodeError("revision in event id is too large")
    return parse_account_id(account), Position(parse_epoch(epoch), Revision(int(revision)))
