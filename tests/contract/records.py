"""Converts golden vectors to records."""

from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from tests.contract.vectors import Vector


def transfer(case: Vector) -> Transfer:
    amount = Money(int(case["amount_unscaled"]), case["amount_scale"])
    return Transfer(TransferId(case["id"]), AccountId(case["account_id"]), amount, int(case["transfer_TS"]))


def balance(case: Vector) -> Balance:
    amount = Money(int(case["balance_unscaled"]), case["balance_scale"])
    account, id_ = AccountId(case["account_id"]), TransferId(case["transfer_id"])
    return Balance(account, case["client_id"], id_, amount, int(case["version"]))
