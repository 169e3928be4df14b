"""Where a list of older transfers goes on: opaque to clients, the same in every epoch.

It names the last transfer shown, not a revision: after a replay the order is the same, the revisions are not.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc32

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId, is_id

_FORM = "1"  # another form of cursor, later, is told from this one
_CHECK = 4  # bytes


def older_than(account: AccountId, transfer: TransferId) -> str:
    """The cursor for the transfers of `account` older than `transfer`."""
    body = f"{_FORM}/{account}/{transfer}".encode()
    return urlsafe_b64encode(body + crc32(body).to_bytes(_CHECK, "big")).decode().rstrip("=")


def transfer_of(cursor: str, account: AccountId) -> TransferId:
    """Raises DecodeError unless `older_than` made `cursor` for this account."""
    try:
        body = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-_CHECK].decode("ascii")
    except ValueError as cause:
        raise DecodeError("bad cursor") from cause
    transfer = TransferId(body.rpartition("/")[2])
    if not is_id(transfer) or older_than(account, transfer) != cursor:
        raise DecodeError("bad cursor")
    return transfer
