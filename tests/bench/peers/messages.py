"""The delta that is published, for each server in its own format."""

from livebalance.wire.delta import Delta, DeltaParts, encode_delta, make_delta, redis_account_channel
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision, TransferId
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json

EPOCH = Epoch("00000000000000a1")
# First revision of every account. All revisions have as many digits, so all frames have the same length.
BASE = 1_000_000_000
PREFIX = "peers:"

Message = tuple[str, bytes]  # a channel of Redis, and what is published to it


def account_id(number: int) -> AccountId:
    return AccountId(f"acc-{number:05}")


def example_delta(account: AccountId, revision: int) -> Delta:
    """Returns a delta with a transfer and its balance. All of them have the same length."""
    at, number = "2026-11-24T17:20:00.000Z", 10_000 + revision // 2 % 90_000
    total = f"{100 + number % 900}.50"
    transfer = TransferView(
        TransferId(f"t-{number}-c"), "12.50", total, at, Revision(revision + 1), f"transfers/3@12{number}"
    )
    balance = BalanceView(
        f"1{total}",
        "EUR",
        number,
        Revision(revision + 2),
        transfer.id,
        "client-1",
        "1000.00",
        "0.00",
        "0.00",
        None,
    )
    parts = DeltaParts(
        EPOCH,
        Revision(revision),
        Revision(revision + 2),
        Millis(1_795_000_000_000),
        balance_json(balance),
        transfers_json([transfer]),
    )
    return make_delta(account, Lane(0), parts)


def livebalance_message(account: AccountId, revision: int) -> Message:
    """Returns the delta as a projector publishes it with LIVEBALANCE_DELTA_POSITIONS."""
    return redis_account_channel(PREFIX, account), encode_delta(
        example_delta(account, revision), positions=True
    )


def centrifugo_message(account: AccountId, revision: int) -> Message:
    """Returns the delta's frame as Centrifugo's Redis engine publishes it, without history.

    It is a `Publication` of Centrifugo's protobuf protocol, of which only field 4 (`data`) is set.
    """
    data = example_delta(account, revision).text
    size = bytes([len(data) & 127 | 128, len(data) >> 7])  # a varint of 128 to 16,383
    return f"centrifugo.client.{account}", b"\x22" + size + data
