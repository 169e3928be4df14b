"""Applies records of the topic of balances to a ledger, and saves the accounts with a checkpoint."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from livebalance.recorder.account_file import AccountFile
from livebalance.recorder.accounts import LoadedAccounts
from livebalance.recorder.checkpoint import AccountsCheckpoint, Log, unusable_reason
from livebalance.recorder.halt import SourceCheck
from livebalance.recorder.ledger import Ledger
from livebalance.runtime import logs
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance
from livebalance.wire.kafka.source import source_of

_ACCOUNTS = 30_000  # that stay in memory
_MAX_CHANGES = 20_000  # accounts that changed since the last save
_SAVE_SECONDS = 5.0  # between two saves
_LATE_SECONDS = 60.0  # longer than between two reads, even if erasures are kept for no time

_log = logs.get("recorder")


class SavedLedger:
    """The ledger of a partition as of `next_offset` of the balances, whose accounts are in a file.

    Args:
        file: Keeps the accounts that are not in memory.
        values: Decodes records.
        check: Checks the sources of the balances.
        max_age_seconds: How long accounts can be read on.
    """

    def __init__(self, file: AccountFile, values: Values, check: SourceCheck, max_age_seconds: float) -> None:
        self._file, self._values, self._check = file, values, check
        self._max_age_seconds = max_age_seconds
        self._accounts = LoadedAccounts(_ACCOUNTS)
        self._complete_at = self._saved_at = 0.0
        self._erased: Mapping[AccountId, Offset] = {}  # as of the checkpoint
        self.ledger = Ledger(0)
        self.next_offset = 0  # of the balances
        self.records = 0  # number of records applied

    async def open(self, origin: str, log: Log, *, rebuild: bool) -> None:
        """Begins with the accounts of the file, or without accounts if these cannot be read on.

        Args:
            origin: Names what the balances are made from.
            log: The two topics as they are now.
            rebuild: The accounts of the file do not count.
        """
        now = time.time()
        checkpoint = await self._file.open(origin)
        if checkpoint:
            reason = unusable_reason(checkpoint, log, now, self._max_age_seconds)
            if rebuild or reason:
                _log.info(
                    "saved accounts discarded", reason=reason or "an operator let the partition continue"
                )
                checkpoint = None
        if checkpoint is None:
            await self._file.clear()
            checkpoint = AccountsCheckpoint(complete_at=now)
        self.next_offset, self._complete_at = checkpoint.next_offset, checkpoint.complete_at
        self._check.newest, self._check.greatest = checkpoint.newest, checkpoint.greatest
        self._erased = checkpoint.erased
        self._saved_at = time.monotonic()

    def create_ledger(self, window: int, rejected: Collection[Offset], max_scale: int) -> None:
        """Begins with a ledger of the accounts."""
        self.ledger = Ledger(window, rejected, max_scale, self._accounts, self._erased)

    async def prepare(self, records: Sequence[RawRecord]) -> None:
        """Prepares for applying records. Everything before them is applied, and is committed in Kafka."""
        await self._values.fetch_schemas(record.value for record in records)
        if self.is_save_due:
            await self.save()
        await self.load(AccountId((record.key or b"").decode("ascii", "replace")) for record in records)

    async def load(self, accounts: Iterable[AccountId]) -> None:
        """Loads accounts into memory for the ledger."""
        if missing := self._accounts.missing(accounts):
            self._accounts.load(missing, await self._file.read(missing))

    def apply(self, record: RawRecord) -> None:
        """Applies the next record.

        Raises:
            HaltedError: The balance was made from other transfers.
        """
        balance = decode_balance(record, self._values.codec)
        if isinstance(balance, Erasure):
            self.ledger.remove(balance.account, self._erased_before(balance))
        elif isinstance(balance, Rejected):
            at, reason = record.offset, balance.reason
            _log.warning("balance rejected", partition=record.partition, offset=at, reason=reason)
        else:
            self.ledger.restore(balance, self._check.offset(source_of(record.headers)))
        self.next_offset = record.offset + 1
        self.records += 1

    def _erased_before(self, erasure: Erasure) -> Offset | None:
        bound = erasure.transfers
        return bound.before if bound is not None and self._check.is_of(str(bound.topic_id)) else None

    def complete(self, next_offset: int, complete_at: float) -> None:
        """Continues at `next_offset`. Each record that is committed since is newer than `complete_at`.

        Args:
            next_offset: Offset of the next balance.
            complete_at: Unix time.
        """
        self.next_offset, self._complete_at = next_offset, complete_at

    @property
    def is_save_due(self) -> bool:
        """Whether the last save is some seconds old, or many accounts have changed since."""
        is_late = time.monotonic() - self._saved_at >= _SAVE_SECONDS
        return is_late or self._accounts.changes >= _MAX_CHANGES

    @property
    def is_too_old(self) -> bool:
        """Whether erasures from `next_offset` on may be gone."""
        return time.time() - self._complete_at > max(self._max_age_seconds, _LATE_SECONDS)

    async def save(self) -> None:
        """Begins to save all changes. Called only while each of them is committed in Kafka."""
        checkpoint = AccountsCheckpoint(
            self.next_offset,
            self._complete_at,
            self._check.newest,
            self._check.greatest,
            self.ledger.erased,
        )
        await self._file.written()  # before changes leave the memory
        await self._file.write(self._accounts.drain(), checkpoint)
        self._saved_at = time.monotonic()

    async def saved(self) -> None:
        """Waits until the last save is complete."""
        await self._file.written()

    async def close(self) -> None:
        """Closes the file, without changes since the last save."""
        await self._file.close()
