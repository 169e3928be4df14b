"""Postgres: one connection, on which lanes are claimed and batches written, each in one transaction."""

import contextlib
from collections.abc import Sequence

import asyncpg

from livebalance.projector.errors import AlreadyListedError, CommitUnknownError, FencedError
from livebalance.projector.postgres.epoch import check_server_identity
from livebalance.readmodel import projector_writes, quarantine
from livebalance.readmodel.rows import (
    BatchRows,
    LaneMove,
    LaneRow,
    LaneStart,
    ListedTransfer,
    MarkedRow,
    StoredBalance,
)
from livebalance.runtime import logs
from livebalance.runtime.process import failpoints
from livebalance.wire.identity import AccountId, Lane

_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 15.0
_MARKED_AT_ONCE = 500  # records of one replay
_LOCK_SECONDS = 2.0  # a claim waits so long before it ends the backend that is in its way

_log = logs.get("store")


class Store:
    """Every call may raise what the driver does; `fate_of` tells what that means."""

    def __init__(self, url: str, name: str, starts: Sequence[LaneStart], transfers_topic: str) -> None:
        self._url, self._name, self._starts = url, name, starts
        self._transfers_topic = transfers_topic
        self._open: projector_writes.Connection | None = None

    async def connection(self) -> projector_writes.Connection:
        """The one there is, or a new one to a server that was recognised."""
        if self._open is None or self._open.is_closed():
            fresh = await self._connect()
            try:
                await projector_writes.prepare(fresh)
                await check_server_identity(fresh, self._starts)
            except BaseException:
                fresh.terminate()
                raise
            self._open = fresh
        return self._open

    async def _connect(self) -> projector_writes.Connection:
        return await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings={
                "application_name": self._name,
                "lock_timeout": f"{_LOCK_SECONDS}s",
                **projector_writes.SETTINGS,
            },
        )

    def drop(self) -> None:
        """Forget a connection that may be in any state."""
        if self._open is not None:
            self._open.terminate()
            self._open = None

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close(timeout=_CONNECT_SECONDS)

    async def claim(self, lane: Lane) -> LaneRow:
        """Owns the lane from now on: whoever had it is fenced.

        The row's lock is waited for, so what a dying transaction did is known when this returns. A stopped
        process keeps its locks for ever; its backend is ended (design, rule of locks).
        """
        connection = await self.connection()
        try:
            return await projector_writes.claim_lane(connection, lane, self._name)
        except asyncpg.LockNotAvailableError:
            ended = await projector_writes.evict_holder(connection, lane)
            _log.warning("ended who held the lane's lock", lane=lane, backends=ended)
            return await projector_writes.claim_lane(connection, lane, self._name)

    async def goes_on(self, halted: list[Lane]) -> bool:
        """Whether an operator has let one of them go on."""
        return bool(halted) and await projector_writes.goes_on(await self.connection(), halted)

    async def stored(self, accounts: list[AccountId]) -> list[StoredBalance]:
        return await projector_writes.stored_balances(await self.connection(), accounts) if accounts else []

    async def doubted(self, lanes: list[Lane]) -> list[StoredBalance]:
        return await projector_writes.doubted_balances(await self.connection(), lanes) if lanes else []

    async def listed(
        self, named: list[projector_writes.Named]
    ) -> dict[projector_writes.Named, ListedTransfer]:
        return await projector_writes.listed_transfers(await self.connection(), named) if named else {}

    async def marked(self, lanes: list[Lane]) -> list[MarkedRow]:
        """What is in quarantine and is to be applied now; the next ones, if there are many."""
        return await quarantine.marked(await self.connection(), lanes, _MARKED_AT_ONCE) if lanes else []

    async def move(self, moves: list[LaneMove]) -> None:
        """Only the lanes: how far they are complete. Raises FencedError."""
        if moves and await projector_writes.move_lanes(await self.connection(), moves) < len(moves):
            raise FencedError("a lane has another owner")

    async def write(self, work: BatchRows) -> None:
        """Writes all rows or none. Raises FencedError, AlreadyListedError or CommitUnknownError."""
        transaction = (await self.connection()).transaction()
        await transaction.start()
        try:
            await self._write(work)
        except Exception:
            with contextlib.suppress(Exception):  # the first error tells more
                await transaction.rollback()
            raise
        failpoints.at("before_commit")
        try:
            await transaction.commit()
        except Exception as error:
            raise CommitUnknownError("the connection died inside COMMIT") from error
        failpoints.at("after_commit")

    async def _write(self, work: BatchRows) -> None:
        connection = await self.connection()
        written = await projector_writes.write_batch(connection, self._transfers_topic, work)
        if written.lanes < len(work.moves):
            raise FencedError("a lane has another owner")
        if written.balances < len(work.balances):
            raise FencedError("an account is not at the revision it was read at")
        if written.transfers < len(work.transfers):
            raise AlreadyListedError("a transfer is in the list already")
        if work.erased:
            await quarantine.forget(connection, work.erased)
        if work.quarantined:
            await projector_writes.quarantine(connection, work.quarantined)
        if work.replayed and not await quarantine.settle(connection, work.replayed):
            raise FencedError("a record in quarantine is not marked any more")
