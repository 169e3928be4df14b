"""Restores a partition's ledger from Kafka, and keeps it up to date with the topic of balances."""

import sqlite3
import time
from collections.abc import Collection, Container, Iterable, Sequence

from aiokafka import TopicPartition

from livebalance.recorder.account_file import AccountFile
from livebalance.recorder.checkpoint import AccountStorage, Log
from livebalance.recorder.halt import SourceCheck
from livebalance.recorder.ledger import Ledger
from livebalance.recorder.saved_ledger import SavedLedger
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.reader import OnRecord, PartitionReader, Prepare, read_range
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane, Offset
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.source import SOURCE, fingerprint

_log = logs.get("recorder")


class Restore:
    """Reads both topics of a partition number into a ledger.

    Args:
        settings: Settings of the recorder.
        values: Decodes records.
        partition: The partition number.
        check: Checks the sources of the balances.
        own: Begins the header `source` of each balance that the partition's owner writes.
        storage: Keeps the accounts.
        lost: Offsets of balances that an operator has skipped. They are left out if they are damaged.
    """

    def __init__(
        self,
        settings: RecorderSettings,
        values: Values,
        partition: Lane,
        check: SourceCheck,
        *,
        own: bytes,
        storage: AccountStorage,
        lost: Container[int] = (),
    ) -> None:
        self._lost = lost
        self._settings, self._values, self._check, self._own = settings, values, check, own
        self._transfers = TopicPartition(settings.transfers_topic, partition)
        self._balances = TopicPartition(settings.balances_topic, partition)
        file = AccountFile(storage.directory, f"{settings.balances_topic}-{partition}")
        self._saved_ledger = SavedLedger(file, values, check, storage.max_age_seconds)
        self._reader = PartitionReader(
            settings.broker, self._balances, self._saved_ledger.prepare, settings.kafka_timeout_seconds
        )
        self._end = 0  # of the balances, when the restore began

    @property
    def progress(self) -> str:
        """How far the balances are read."""
        return f"offset {self._saved_ledger.next_offset} of {self._end}"

    @property
    def is_save_due(self) -> bool:
        """Whether the accounts were not saved for some seconds, or many have changed."""
        return self._saved_ledger.is_save_due

    async def ledger(
        self, next_offset: Offset, rejected: Collection[Offset], origin: str, log: Log, *, rebuild: bool
    ) -> Ledger:
        """Returns a ledger that can apply transfers from `next_offset` on, and connects the reader.

        What was read stays in the account file, also after an error.

        Args:
            next_offset: Offset of the next transfer.
            rejected: Offsets of transfers that were rejected before.
            origin: Names what the balances are made from.
            log: The two topics as they are now.
            rebuild: Accounts that were saved before do not count.

        Raises:
            HaltedError: The balances were made from other transfers.
            UnreadableRecordError: A record is damaged.
            TimeoutError: Kafka makes no progress in time.
            sqlite3.DatabaseError: The account file is damaged, or cannot be written.
        """
        self._end = log.end_of_balances
        await self._saved_ledger.open(origin, log, rebuild=rebuild)
        window = self._settings.duplicate_window_offsets
        self._saved_ledger.create_ledger(window, rejected, self._settings.max_scale)
        checkpoint = self._saved_ledger.next_offset
        await self._read_balances()
        _log.info(
            "balances restored",
            partition=self._balances.partition,
            checkpoint=checkpoint,
            records=self._saved_ledger.records,
        )
        await self._read_transfers(next_offset, window, rejected)
        await self._reader.start(self._saved_ledger.next_offset)
        return self._saved_ledger.ledger

    async def _read_transfers(self, next_offset: Offset, window: int, rejected: Container[int]) -> None:
        ledger = self._saved_ledger.ledger

        def remember_id(record: RawRecord) -> None:
            try:
                transfer = self._values.codec.decode_transfer(record.value or b"")
            except DecodeError:
                return
            ledger.remember_id(Offset(record.offset), record.key, transfer)

        def check_record(record: RawRecord) -> None:
            self._check.check_record(record.offset, fingerprint(record.key, record.value, record.timestamp))

        if newest := self._check.newest:
            await self._read(self._transfers, check_record, newest.offset, end=newest.offset + 1)
        start = max(0, next_offset - window)
        await self._read(self._transfers, remember_id, start, end=next_offset, lost=rejected)

    async def load(self, accounts: Iterable[AccountId]) -> None:
        """Loads accounts into memory. The ledger is asked only for accounts that are loaded."""
        await self._saved_ledger.load(accounts)

    async def read_all_balances(self) -> None:
        """Restores the balances since the last call, and waits for open transactions (decision 7).

        Accounts that were loaded before have to be loaded again.

        Raises:
            HaltedError: A balance was made from other transfers.
            UnreadableRecordError: A balance is damaged.
            TimeoutError: Kafka makes no progress, or a transaction does not end in time.
        """
        await self._read_balances()
        self._reader.seek(self._saved_ledger.next_offset)

    async def _read_balances(self) -> None:
        saved, now = self._saved_ledger, time.time()
        try:
            reached = await self._read(
                self._balances, saved.apply, saved.next_offset, lost=self._lost, prepare=saved.prepare
            )
            saved.complete(reached, now)
        except sqlite3.DatabaseError:
            raise
        except Exception:
            await saved.save()
            await saved.saved()
            raise

    async def read_new_balances(self, written: Sequence[int]) -> None:
        """Applies erasures and balances of other producers that were committed since the last call.

        The ledger has the balances of this owner already, so they are skipped. A balance that follows a
        record of another producer is restored again, because the newest record of an account counts.

        Args:
            written: Offsets of the balances in the last transaction of this owner.

        Raises:
            HaltedError: A balance was made from other transfers.
            UnreadableRecordError: A balance is damaged.
            TimeoutError: Kafka makes no progress in time, or was not read for so long that erasures may be
                gone.
        """
        changed = set[bytes | None]()

        def on_record(record: RawRecord) -> None:
            if record.key in changed or not self._is_own(record):
                changed.add(record.key)
                self._saved_ledger.apply(record)

        if self._saved_ledger.is_too_old:
            raise TimeoutError("the balances were not read for hours")
        now = time.time()
        self._saved_ledger.complete(await self._reader.read(on_record, written, self._lost), now)
        if self._saved_ledger.is_save_due:
            await self._saved_ledger.save()

    async def stop(self) -> None:
        """Closes the account file, and disconnects the reader."""
        try:
            await self._saved_ledger.close()
        finally:
            await self._reader.stop()

    def _is_own(self, record: RawRecord) -> bool:
        return any(
            name == SOURCE and (value or b"").startswith(self._own) for name, value in record.headers
        ) and (record.value is not None)

    async def _read(
        self,
        partition: TopicPartition,
        on_record: OnRecord,
        start: int,
        *,
        end: int | None = None,
        lost: Container[int] = (),
        prepare: Prepare | None = None,
    ) -> int:
        return await read_range(
            self._settings.broker,
            partition,
            on_record,
            start,
            end=end,
            lost=lost,
            timeout_seconds=self._settings.kafka_timeout_seconds,
            prepare=prepare or self._fetch_schemas,
        )

    async def _fetch_schemas(self, records: Sequence[RawRecord]) -> None:
        await self._values.fetch_schemas(record.value for record in records)
