"""The Postgres connection on which lanes are claimed and batches are written, each in a transaction."""

import contextlib
from collections.abc import Mapping, Sequence

import asyncpg

from livebalance.projector.errors import AlreadyListedError, CommitUnknownError, FencedError
from livebalance.projector.postgres.epoch import check_server_identity
from livebalance.readmodel import lane_totals, quarantine
from livebalance.readmodel.connection import Connection, set_numeric_codec
from livebalance.readmodel.projection import account_reads, batch_writes, lane_writes
from livebalance.readmodel.reconciliation import results
from livebalance.readmodel.rows import (
    BatchRows,
    Differences,
    LaneMove,
    LaneRow,
    LaneStart,
    LanesTotals,
    ListedTransfer,
    ReplayRow,
    StoredBalance,
    TopicIds,
    TransferRow,
)
from livebalance.readmodel.sets.totals import FollowedSets, add_to_totals, read_followed
from livebalance.runtime import logs
from livebalance.runtime.process import failpoints
from livebalance.wire.identity import AccountId, Lane, Offset
from livebalance.wire.sets.batch import KeptTotal

_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 15.0
_REPLAY_RECORDS = 500  # read at once
_LOCK_SECONDS = 2.0  # after that a claim terminates the backend that holds the lock

_log = logs.get("store")


class Store:
    """Reads and writes the projection. Every method may raise errors of asyncpg: see `errors.fate_of`."""

    def __init__(self, url: str, name: str, starts: Sequence[LaneStart], transfers_topic: str) -> None:
        self._url, self._name, self._starts = url, name, starts
        self._transfers_topic = transfers_topic
        self._connection: Connection | None = None

    @property
    def partitions(self) -> int:
        """The number of partitions that the projection was built from. Compared for each new connection."""
        return len(self._starts)

    async def connection(self) -> Connection:
        """Returns the open connection. If there is none, connects and checks the server's identity."""
        if self._connection is None or self._connection.is_closed():
            connection = await self._connect()
            try:
                await set_numeric_codec(connection)
                await check_server_identity(connection, self._starts)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    async def _connect(self) -> Connection:
        return await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings={
                "application_name": self._name,
                "lock_timeout": f"{_LOCK_SECONDS}s",
                **batch_writes.SETTINGS,
            },
        )

    def drop(self) -> None:
        """Terminates a connection that may be in any state. The next call opens another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            await self._connection.close(timeout=_CONNECT_SECONDS)

    async def claim_lane(self, lane: Lane, topic_ids: TopicIds) -> LaneRow:
        """Makes this process the lane's owner and fences the previous owner. Stores ids that are unknown.

        Waits for the lock of the lane's row: afterwards the outcome of an interrupted transaction is known.
        If the lock is not released in time, terminates its holder (docs/guarantees.md#locks).
        """
        connection = await self.connection()
        try:
            return await lane_writes.claim_lane(connection, lane, self._name, topic_ids)
        except asyncpg.LockNotAvailableError:
            backends = await lane_writes.terminate_lock_holder(connection, lane)
            _log.warning("lock holder terminated", lane=lane, backends=backends)
            return await lane_writes.claim_lane(connection, lane, self._name, topic_ids)

    async def any_continued(self, halted: list[Lane]) -> bool:
        """Returns whether an operator has let any of these halted lanes continue."""
        return bool(halted) and await lane_writes.any_lane_continued(await self.connection(), halted)

    async def stored_balances(self, accounts: list[AccountId]) -> list[StoredBalance]:
        """Reads the accounts that exist."""
        return await account_reads.stored_balances(await self.connection(), accounts) if accounts else []

    async def totals(self, lanes: list[Lane]) -> LanesTotals:
        """Reads the numbers of disputed, drifting and unverified accounts of these lanes."""
        return await lane_totals.read_totals(await self.connection(), lanes)

    async def followed_sets(self) -> FollowedSets:
        """Reads the sets that clients follow."""
        return await read_followed(await self.connection())

    async def differences(self, lanes: list[Lane]) -> Differences:
        """Reads what the reconciliation has found in these lanes."""
        return await results.read_differences(await self.connection(), lanes)

    async def listed_transfers(
        self, keys: list[account_reads.TransferKey]
    ) -> dict[account_reads.TransferKey, ListedTransfer]:
        """Reads the transfers that are listed."""
        return await account_reads.listed_transfers(await self.connection(), keys) if keys else {}

    async def listed_since(self, since: Mapping[AccountId, Offset]) -> list[TransferRow]:
        """Reads the listed transfers from an offset of each account on."""
        return await account_reads.listed_since(await self.connection(), since) if since else []

    async def records_to_replay(self, lanes: list[Lane]) -> list[ReplayRow]:
        """Reads the oldest quarantined records of these lanes that are marked for replay."""
        return (
            await quarantine.requested_replays(await self.connection(), lanes, _REPLAY_RECORDS)
            if lanes
            else []
        )

    async def move_lanes(self, moves: list[LaneMove]) -> None:
        """Writes lanes without a batch.

        Raises:
            FencedError: another process owns a lane.
        """
        if moves and await lane_writes.move_lanes(await self.connection(), moves) < len(moves):
            raise FencedError("a lane has another owner")

    async def write(self, batch: BatchRows) -> Mapping[Lane, Sequence[KeptTotal]]:
        """Writes all rows of a batch, or none.

        Returns:
            The totals after the batch of the sets that it changes, of the lanes that have counted them.

        Raises:
            FencedError: another process owns a lane, or wrote an account.
            AlreadyListedError: a transfer is already listed.
            CommitUnknownError: the connection was lost during COMMIT.
        """
        transaction = (await self.connection()).transaction()
        await transaction.start()
        try:
            kept = await self._write(batch)
        except Exception:
            with contextlib.suppress(Exception):  # the first error tells more
                await transaction.rollback()
            raise
        failpoints.at("before_commit")
        try:
            await transaction.commit()
        except Exception as error:
            raise CommitUnknownError("the connection was lost during COMMIT") from error
        failpoints.at("after_commit")
        return kept

    async def _write(self, batch: BatchRows) -> Mapping[Lane, Sequence[KeptTotal]]:
        connection = await self.connection()
        written = await batch_writes.write_batch(connection, self._transfers_topic, batch)
        if written.lanes < len(batch.moves):
            raise FencedError("a lane has another owner")
        if written.balances < len(batch.balances):
            raise FencedError("an account is not at the revision it was read at")
        if written.transfers < len(batch.transfers):
            raise AlreadyListedError("a transfer is already listed")
        if batch.erased:
            await quarantine.discard_erased(connection, batch.erased)
        if batch.quarantined:
            await batch_writes.insert_quarantined(connection, batch.quarantined)
        if batch.replayed and not await quarantine.settle_replays(connection, batch.replayed):
            raise FencedError("a quarantined record is no longer marked for replay")
        return await add_to_totals(connection, batch.sets) if batch.sets else {}
