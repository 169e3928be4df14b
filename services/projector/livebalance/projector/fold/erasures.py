"""Which records of an account an erasure covers."""

from collections.abc import Iterable, Mapping

from livebalance.projector.fold.account import Account, ErasedBounds
from livebalance.projector.fold.records import Incoming
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.lifecycle import Erased
from livebalance.wire.kafka.raw_record import Erasure
from livebalance.wire.kafka.source import source_of

_ERASURES = (Erased, Erasure)


def erasure_bounds(content: Erased | Erasure, offset: Offset) -> ErasedBounds | None:
    """Returns what an erasure covers; None if it does not say so. `offset` is that of its record."""
    if isinstance(content, Erased):
        return ErasedBounds(content.transfers.before, content.balances.before)
    return None if content.transfers is None else ErasedBounds(content.transfers.before, offset)


def overtaken_erasures(
    batch: Iterable[Incoming], accounts: Mapping[AccountId, Account]
) -> dict[AccountId, Offset]:
    """Returns from which offset on transfers of stored accounts survive the erasures in a batch.

    Leaves out accounts without such transfers.
    """
    first: dict[AccountId, Offset] = {}
    for record in batch:
        if isinstance(record.content, _ERASURES):
            account = accounts.get(record.content.account)
            bounds = erasure_bounds(record.content, record.offset)
            if account and bounds and not account.covers(bounds):
                first[account.id] = min(first.get(account.id, bounds.transfers), bounds.transfers)
    applied = {id_: accounts[id_].transfers_offset for id_ in first}
    return {
        id_: offset for id_, offset in first.items() if (last := applied[id_]) is not None and offset <= last
    }


def is_covered(erased: ErasedBounds, balance: Incoming) -> bool:
    """Returns whether an erasure covers a balance, or each transfer in it."""
    if balance.offset < erased.balances:
        return True
    source = source_of(balance.raw.headers)
    offset = source if source is None or isinstance(source, int) else source.offset
    return offset is not None and offset < erased.transfers
