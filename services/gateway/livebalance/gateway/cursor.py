"""Where a list of older transfers goes on: opaque to clients, the same in every epoch.

It names the last transfer shown, not a revision: after a replay the order is the same, the revisions are not.
"""

from livebalance.gateway.seal import opened, sealed
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId, is_id

_FORM = "1"  # another form of cursor, later, is told from this one


def older_than(account: AccountId, transfer: TransferId) -> str:
    """The cursor for the transfers of `account` older than `transfer`."""
    return sealed(f"{_FORM}/{account}/{transfer}")


def transfer_of(cursor: str, account: AccountId) -> TransferId:
    """Raises DecodeError unless `older_than` made `cursor` for this account."""
    transfer = TransferId(opened(cursor).rpartition("/")[2])
    if not is_id(transfer) or older_than(account, transfer) != cursor:
        raise DecodeError("bad cursor")
    return transfer
