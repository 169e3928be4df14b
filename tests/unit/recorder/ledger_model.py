"""A reference model of the ledger. It has no state: each verdict is computed from the whole history."""

from fractions import Fraction
from typing import NamedTuple

from livebalance.recorder.ledger import Verdict
from livebalance.wire.identity import Offset
from livebalance.wire.kafka.record import Transfer


class TransferRecord(NamedTuple):
    """A transfer record of the topic."""

    offset: Offset
    key: bytes
    transfer: Transfer

    @property
    def name(self) -> tuple[str, str]:
        return self.transfer.account, self.transfer.id

    @property
    def has_own_key(self) -> bool:
        return self.key == self.transfer.account.encode()

    @property
    def amount(self) -> Fraction:
        return Fraction(self.transfer.amount.unscaled, 10**self.transfer.amount.scale)


class Expected(NamedTuple):
    """A verdict, and the account after it: its balance, and the number of transfers in the balance."""

    verdict: Verdict
    balance: Fraction
    version: int


def expected_results(history: list[TransferRecord], window: int) -> list[Expected]:
    """Returns what a ledger must do with each record."""
    applied: list[TransferRecord] = []
    accepted: list[TransferRecord] = []  # not rejected, so that their ids count
    results: list[Expected] = []
    for record in history:
        verdict = _verdict(accepted, applied, record, window)
        if verdict is not Verdict.REJECTED:
            accepted.append(record)
        if verdict in (Verdict.APPLIED, Verdict.OPENED):
            applied.append(record)
        same_account = [other for other in applied if other.transfer.account == record.transfer.account]
        results.append(Expected(verdict, _sum(same_account), len(same_account)))
    return results


def _verdict(
    accepted: list[TransferRecord], applied: list[TransferRecord], record: TransferRecord, window: int
) -> Verdict:
    if not record.has_own_key:
        return Verdict.REJECTED
    first = record.offset - window
    if any(each.name == record.name and each.offset >= first for each in accepted):
        return Verdict.DUPLICATE
    same_account = [other for other in applied if other.transfer.account == record.transfer.account]
    scale = max(other.transfer.amount.scale for other in [*same_account, record])
    if not -(2**63) <= (_sum(same_account) + record.amount) * 10**scale < 2**63:
        return Verdict.REJECTED
    return Verdict.APPLIED if same_account else Verdict.OPENED


def _sum(records: list[TransferRecord]) -> Fraction:
    return sum((record.amount for record in records), Fraction(0))
