"""The opening balances of the feed's accounts."""

from livebalance.generator.transfers import SCALE, account_id, splitmix64
from livebalance.wire.identity import TransferId
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money


def initial_balance(number: int) -> Balance:
    """Returns the balance record that opens account `number`. Three consecutive accounts share a client."""
    amount = 1_000_00 + splitmix64(number) % 9_000 * 100
    client = f"client-{(number + 2) // 3:03}"
    return Balance(account_id(number), client, TransferId(""), Money(amount, SCALE), 0)
