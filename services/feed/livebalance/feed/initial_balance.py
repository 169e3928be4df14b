"""What the accounts of the feed begin with."""

from livebalance.generator.transfers import SCALE, account, mixed
from livebalance.wire.identity import TransferId
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money


def opening(number: int) -> Balance:
    """The record that opens the `number`-th account. A client has up to three accounts."""
    amount = 1_000_00 + mixed(number) % 9_000 * 100
    client = f"client-{(number + 2) // 3:03}"
    return Balance(account(number), client, TransferId(""), Money(amount, SCALE), 0)
