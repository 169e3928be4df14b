"""The cursor of a list of transfers: opaque to clients, valid in every epoch.

A cursor names the last transfer shown, not a revision: after a replay the transfers have the same order, but
other revisions. It is not signed and hides nothing: a gateway checks again what it names.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId, is_id

_FORMAT = "1"  # tells a later format of cursors from this one


def encode_opaque(text: str) -> str:
    """Returns ASCII `text` as unpadded base64url, a third longer."""
    return urlsafe_b64encode(text.encode("ascii")).decode().rstrip("=")


def decode_opaque(opaque: str) -> str:
    """Returns the text of an `encode_opaque` result; the caller checks that it encodes to the same again.

    Raises:
        DecodeError: `opaque` is not base64url of ASCII.
    """
    try:
        return urlsafe_b64decode(opaque + "=" * (-len(opaque) % 4)).decode("ascii")
    except ValueError as cause:
        raise DecodeError("bad cursor") from cause


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
        raise DecodeError("bad cursor")
    return transfer
