"""Messages with which projectors announce the batches of a lane: every account that a batch changed.

Gateways keep sets of accounts with them (decision 36), and compare their sums with the totals that the batch
has written (decision 46). A message without accounts says only that the batch exists; gateways then read
their sets from Postgres.
"""

import struct
from collections.abc import Sequence

from msgspec import DecodeError as _JsonError
from msgspec import Struct, ValidationError, json
from msgspec.structs import replace

from livebalance.wire.delta import FORMAT
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Lane, Revision, is_id, parse_epoch
from livebalance.wire.money import parse_money
from livebalance.wire.views import MemberView

MAX_BATCH_BYTES = 256 * 1024  # of the accounts; with more, only the header is published

_HEADER = struct.Struct(">BBH8sq")  # format, flags, lane, epoch, number of the batch
_HEADER_ONLY_FLAG = 1


class ChangedAccount(Struct, frozen=True, gc=False, omit_defaults=True):
    """An account after a batch. Without an amount, it has no balance: it is of no set."""

    account: AccountId
    revision: Revision
    amount: str | None = None
    currency: str | None = None
    client_id: str | None = None
    disputed_since: str | None = None
    former_client: str | None = None  # before the batch, if it is another than `client_id`

    @property
    def view(self) -> MemberView | None:
        """The account as a member of a set; None if it has no balance."""
        if self.amount is None or self.client_id is None:
            return None
        return MemberView(
            self.account, self.revision, self.amount, self.currency, self.client_id, self.disputed_since
        )


class KeptTotal(Struct, frozen=True, gc=False):
    """What a lane has of a set, in a currency and a scale, after a batch. Kept by the lane's owner."""

    channel: str  # of the set
    currency: str | None
    amount: str  # with the scale of the balances; not checked when it is decoded, as most are of other sets
    accounts: int


class LaneBatch(Struct, frozen=True, gc=False):
    """The batch `number` of a lane."""

    lane: Lane
    epoch: Epoch
    number: int
    accounts: Sequence[ChangedAccount]
    header_only: bool = False
    totals: Sequence[KeptTotal] = ()  # of the sets that it changes; all that the lane has of each of them


class _Text(Struct, omit_defaults=True):
    accounts: Sequence[ChangedAccount]
    totals: Sequence[KeptTotal] = ()


_encoder = json.Encoder()
_decoder = json.Decoder(_Text)


def encode_batch(batch: LaneBatch) -> bytes:
    """Returns the Redis message of a batch.

    Without its totals if it exceeds `MAX_BATCH_BYTES` with them, and without its accounts if these do.
    """
    text = _encoder.encode(_Text(batch.accounts, batch.totals))
    if len(text) > MAX_BATCH_BYTES and batch.totals:
        text = _encoder.encode(_Text(batch.accounts))
    is_bare = batch.header_only or len(text) > MAX_BATCH_BYTES
    flags = _HEADER_ONLY_FLAG if is_bare else 0
    header = _HEADER.pack(FORMAT, flags, batch.lane, bytes.fromhex(batch.epoch), batch.number)
    return header if is_bare else header + text


def decode_batch(message: bytes) -> LaneBatch:
    """Returns the batch in a message that was received on the Redis channel of a lane's batches.

    Raises:
        DecodeError: The message has another format, or an account of it cannot be of a set.
    """
    if len(message) < _HEADER.size or message[0] != FORMAT:
        raise DecodeError("not a batch message of this format")
    _, flags, lane, epoch, number = _HEADER.unpack_from(message)
    if not 0 < number <= MAX_REVISION:
        raise DecodeError("a batch has no such number")
    batch = LaneBatch(Lane(lane), parse_epoch(epoch.hex()), number, [], header_only=True)
    if flags & _HEADER_ONLY_FLAG:
        return batch
    try:
        text = _decoder.decode(message[_HEADER.size :])
    except (_JsonError, ValidationError, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("the text of a batch message is not that of its accounts") from cause
    for account in text.accounts:
        _check(account)
    return replace(batch, accounts=text.accounts, totals=text.totals, header_only=False)


def _check(account: ChangedAccount) -> None:
    if not is_id(account.account) or not 0 < account.revision <= MAX_REVISION:
        raise DecodeError("no account of a batch has such an id or revision")
    if account.amount is not None:
        parse_money(account.amount)


def redis_batch_channel(prefix: str, lane: Lane) -> str:
    """Returns the Redis channel that carries the batches of a lane."""
    return f"{prefix}lane:{lane}:batches"  # Redis users may use `lane:*` since the first release
