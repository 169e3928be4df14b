"""The cursor of a list of transfers: opaque to clients, valid in every epoch.

A cursor names the last transfer of a page, not a revision: after a replay the transfers have the same order,
but other revisions. A cursor is neither signed nor secret: the gateway checks rights for each request.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId, is_id

_FORMAT = "1"  # a later format of cursors gets another number


def encode_opaque(text: str) -> str:
    """Returns ASCII `text` as base64url without padding (RFC 4648 §5)."""
    return urlsafe_b64encode(text.encode("ascii")).decode().rstrip("=")


def decode_opaque(opaque: str) -> str:
    """Returns the text of an `encode_opaque` result; the caller checks that it encodes to the same again.

    Raises:
        DecodeError: `opaque` is not base64url of ASCII.
    """
    try:
        return urlsafe_b64decode(opaque + "=" * (-len(opaque) % 4)).decode("ascii")
    except ValueError as cause:
        raise DecodeError("invalid base64url") from cause


def encode_cursor(account: AccountId, transfer: TransferId) -> str:
    """Returns the cursor for the transfers of `account` that are older than `transfer`."""
    return encode_opaque(f"{_FORMAT}/{account}/{transfer}")


def decode_cursor(cursor: str, account: AccountId) -> TransferId:
    """Returns the transfer that `cursor` names.

    Raises:
        DecodeError: `encode_cursor` did not make `cursor` for this account.
    """
    transfer = TransferId(decode_opaque(cursor).rpartition("/")[2])
    if not is_id(transfer) or encode_cursor(account, transfer) != cursor:
        raise DecodeError("invalid cursor for this account")
    return transfer
