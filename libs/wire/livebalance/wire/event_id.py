"""The `id` of a server-sent event: a client's position in each account of its stream."""

from collections.abc import Mapping

from livebalance.wire.cursor import decode_opaque, encode_opaque
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Position, Revision, account_id, epoch

MAX_ACCOUNTS = 16  # of one stream: their positions fit into a header
MAX_LENGTH = 4096  # characters

_FORMAT = "e1"  # tells a later format of event ids from this one

Positions = Mapping[AccountId, Position]


def encode_event_id(decode_event_id: Positions) -> str:
    """Returns the event id for up to `MAX_ACCOUNTS` positions."""
    fields = ",".join(
        f"{account}:{position.epoch}:{position.revision}"
        for account, position in sorted(decode_event_id.items())
    )
    return encode_opaque(f"{_FORMAT}/{fields}")


def decode_event_id(event_id: str) -> dict[AccountId, Position]:
    """Returns the positions in `event_id`, which a client sent as `Last-Event-ID`.

    Raises:
        DecodeError: `encode_event_id` did not make `event_id`.
    """
    if len(event_id) > MAX_LENGTH:
        raise DecodeError("bad cursor")
    form, _, fields = decode_opaque(event_id).partition("/")
    if form != _FORMAT:
        raise DecodeError("bad cursor")
    decode_event_id = dict(map(_decode_position, fields.split(",") if fields else ()))
    if len(decode_event_id) > MAX_ACCOUNTS or encode_event_id(decode_event_id) != event_id:
        raise DecodeError("bad cursor")
    return decode_event_id


def _decode_position(field: str) -> tuple[AccountId, Position]:
    parts = field.split(":")
    if len(parts) != 3 or not parts[2].isdecimal() or len(parts[2]) > len(str(MAX_REVISION)):
        raise DecodeError("bad cursor")
    account, account_epoch, revision = parts
    if int(revision) > MAX_REVISION:
        raise DecodeError("bad cursor")
    return account_id(account), Position(epoch(account_epoch), Revision(int(revision)))
