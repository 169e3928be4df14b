"""Decides whether accounts that were saved can be read on from their checkpoint. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from livebalance.recorder.ledger import NO_OFFSET
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.source import Source

_MAX_AGE_SECONDS = 12 * 3600.0


class AccountStorage(NamedTuple):
    """Where accounts are saved, and for how long they can be read on."""

    directory: Path
    max_age_seconds: float = _MAX_AGE_SECONDS


def max_age_seconds(config: Mapping[str, str]) -> float:
    """Returns for how long saved accounts can be read on, by the configuration of the topic of balances.

    Kafka keeps an erasure for `delete.retention.ms` after compaction has removed the balances before it. If
    accounts were read on later, an account could lack its erasure, and would come back.
    """
    retention_ms = int(config.get("delete.retention.ms", 0))
    return min(_MAX_AGE_SECONDS, retention_ms / 2_000)


class AccountsCheckpoint(NamedTuple):
    """How far saved accounts include the topic of balances.

    Records from `next_offset` on may be included too: reading them again changes nothing, because the newest
    record of an account counts.
    """

    next_offset: int = 0
    complete_at: float = 0.0  # Unix time; each record that was committed before it is included or can be read
    newest: Source | None = None  # newest source of the accounts
    greatest: Offset = NO_OFFSET  # of all sources, also of those that name no topic
    erased: Mapping[AccountId, Offset] = {}  # see Ledger


class Log(NamedTuple):
    """Offsets of both topics' partitions, as Kafka reports them."""

    first_balance: int
    end_of_balances: int  # the last stable offset
    end_of_transfers: int


def unusable_reason(
    checkpoint: AccountsCheckpoint, log: Log, now: float, max_age_seconds: float
) -> str | None:
    """Returns why accounts must be restored from Kafka alone; None if they can be read on."""
    age = now - checkpoint.complete_at
    if not 0 <= age <= max_age_seconds:
        return f"they are {age:.0f} s old"
    if not log.first_balance <= checkpoint.next_offset <= log.end_of_balances:
        return (
            f"{checkpoint.next_offset} comes next but the balances have offsets {log.first_balance} to"
            f" {log.end_of_balances}"
        )
    if checkpoint.greatest >= log.end_of_transfers:  # the whole restore halts, if such a balance is there
        return f"they include transfer {checkpoint.greatest} but transfers end at {log.end_of_transfers}"
    return None
