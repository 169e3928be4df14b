"""Writes accounts like a projector: rows in a transaction, then a delta per account to Redis."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from types import TracebackType
from typing import Any, Self

import asyncpg
import redis.asyncio

from livebalance.projector import metrics
from livebalance.projector.redis.publisher import Publisher
from livebalance.runtime.redis.url import RedisUrl
from livebalance.wire.delta import (
    Delta,
    DeltaParts,
    ProgressMessage,
    encode_delta,
    encode_progress,
    make_delta,
    redis_account_channel,
    redis_lane_channel,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Revision, TransferId
from livebalance.wire.money import Money
from livebalance.wire.sets.batch import ChangedAccount, LaneBatch, encode_batch, redis_batch_channel
from livebalance.wire.signature import SigningKey
from livebalance.wire.timestamp import Millis, as_datetime, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, balance_json, format_source, transfers_json

LANES = 3
START = Millis(1_795_000_000_000)


@dataclass
class FakeAccount:
    """An account as it was written: amounts in cents, and every transfer in order."""

    id: AccountId
    revision: int = 0
    total: int = 0
    version: int = -1  # no balance record yet
    balance_transfer: str = ""  # the id of the transfer that the balance names
    transfers: list[TransferView] = field(default_factory=list)
    client: str = "client-1"

    @property
    def lane(self) -> Lane:
        return Lane(sum(self.id.encode()) % LANES)

    @property
    def balance_total(self) -> int:
        totals = (
            cents(transfer.total) for transfer in self.transfers if transfer.id == self.balance_transfer
        )
        return next(totals, 0)

    def balance(self) -> BalanceView | None:
        if self.version < 0:
            return None
        return BalanceView(
            amount=str(Money(self.balance_total, 2)),
            currency="EUR",
            version=self.version,
            revision=Revision(self.revision),
            transfer_id=TransferId(self.balance_transfer),
            client_id=self.client,
            opening="0.00",
            half_applied=str(Money(self.total - self.balance_total, 2)),
            drift="0.00",
            disputed_since=None,
        )

    def change(self, amount: int | None) -> list[TransferView]:
        """Adds a transfer of `amount` cents, or (None) the balance record of the last transfer."""
        self.revision += 1
        if amount is None:
            self.version += 1
            self.balance_transfer = self.transfers[-1].id if self.transfers and self.version else ""
            return []
        self.total += amount
        number = len(self.transfers)
        transfer = TransferView(
            id=TransferId(f"t-{number}"),
            amount=str(Money(amount, 2)),
            total=str(Money(self.total, 2)),
            occurred_at=format_rfc3339(Millis(START + number)),
            revision=Revision(self.revision),
            source=format_source("transfers", self.lane, Offset(number)),
        )
        self.transfers.append(transfer)
        return [transfer]


async def _start_publisher(url: str, prefix: str) -> Publisher:
    """Returns the projector's publisher, once Redis has accepted a message."""
    publisher = Publisher(url)
    publisher.start()
    async with asyncio.timeout(30):
        published = metrics.published_messages._value.get()
        while metrics.published_messages._value.get() == published:
            await publisher.publish([(f"{prefix}nobody", b"")])
            await asyncio.sleep(0.05)
    return publisher


def cents(text: str) -> int:
    return int(text.replace(".", ""))


class FakeProjector:
    """Writes the accounts of a database. If `silent`, it publishes nothing, as if Redis lost each message."""

    def __init__(self, postgres: str, redis_url: str, prefix: str) -> None:
        self._postgres, self._redis_url, self._prefix = postgres, redis_url, prefix
        self.accounts: dict[AccountId, FakeAccount] = {}
        self.epoch = Epoch("00000000000000a1")
        self.as_of = START
        self.silent = False
        self.key: SigningKey | None = None  # signs all messages
        self.batches = dict.fromkeys(map(Lane, range(LANES)), 0)  # the number of each lane's newest batch
        self.loses_batches = False  # as if Redis lost each batch
        self._former: dict[AccountId, str | None] = {}  # the client of each account, as it was written
        self._sql: asyncpg.Connection[asyncpg.Record]
        self._redis: redis.asyncio.Redis
        self._publisher: Publisher | None = None  # in a cluster

    async def __aenter__(self) -> Self:
        self._sql = await asyncpg.connect(self._postgres)
        if RedisUrl.parse(self._redis_url).clustered:
            self._publisher = await _start_publisher(self._redis_url, self._prefix)
        else:
            self._redis = redis.asyncio.from_url(
                self._redis_url, retry_on_error=[redis.exceptions.ConnectionError]
            )
        await self._sql.execute(
            "insert into projection select true, $1, system_identifier, timeline, $2 from server_identity",
            self.epoch,
            LANES,
        )
        await self._sql.executemany(
            "insert into lane values ($1, 0, 0, 1, $2, true, null, null, null, null, null, $3)",
            [(lane, self.epoch, as_datetime(self.as_of)) for lane in range(LANES)],
        )
        await self._sql.execute("update lane set batches_generation = generation")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sql.close()
        await (self._publisher.close() if self._publisher else self._redis.aclose())

    def account(self, account: str) -> FakeAccount:
        return self.accounts.setdefault(AccountId(account), FakeAccount(AccountId(account)))

    async def open(self, *accounts: str) -> None:
        """Writes a balance record of version 0 for each account."""
        await self.write({account: [None] for account in accounts})

    async def transfer(self, account: str, *amounts: int) -> None:
        """Writes transfers in a batch, each followed by its balance record."""
        await self.write({account: [change for amount in amounts for change in (amount, None)]})

    async def write(self, batch: dict[str, list[int | None]]) -> None:
        """Writes changes in a transaction, then publishes the deltas. See `FakeAccount.change`."""
        self.as_of = Millis(self.as_of + 1000)
        deltas = []
        async with self._sql.transaction():
            await self._sql.execute("update lane set as_of = $1", as_datetime(self.as_of))
            for account, changes in batch.items():
                deltas.append(await self._write(self.account(account), changes))
            numbered = await self._number([self.account(account) for account in batch])
        for delta, account in zip(deltas, batch, strict=True):
            if not self.silent:
                await self.publish(account, delta)
        await self._publish_batches(numbered)

    async def _number(self, accounts: Sequence[FakeAccount]) -> list[LaneBatch]:
        """Numbers the batch of each lane of the accounts, in the transaction that changes them."""
        batches = []
        for lane in {account.lane for account in accounts}:
            self.batches[lane] += 1
            await self._sql.execute("update lane set batches = $2 where lane = $1", lane, self.batches[lane])
            changed = [self._changed(account) for account in accounts if account.lane == lane]
            batches.append(LaneBatch(lane, self.epoch, self.batches[lane], changed))
        return batches

    def _changed(self, account: FakeAccount) -> ChangedAccount:
        view = account.balance()
        former = self._former.get(account.id)
        self._former[account.id] = view.client_id if view else None
        if view is None:
            return ChangedAccount(account.id, Revision(account.revision), former_client=former)
        return ChangedAccount(
            account.id,
            Revision(account.revision),
            view.amount,
            view.currency,
            view.client_id,
            view.disputed_since,
            former if former != view.client_id else None,
        )

    async def _publish_batches(self, batches: Sequence[LaneBatch]) -> None:
        for batch in () if self.silent or self.loses_batches else batches:
            await self._publish_signed(redis_batch_channel(self._prefix, batch.lane), encode_batch(batch))

    async def commit(self, account: str, changes: list[int | None]) -> Delta:
        """Writes changes in a transaction, and returns the delta, which is not published."""
        async with self._sql.transaction():
            return await self._write(self.account(account), changes)

    async def publish(self, account: str, delta: Delta) -> None:
        await self._publish_signed(
            redis_account_channel(self._prefix, AccountId(account)),
            encode_delta(delta, positions=delta.to % 2 == 0),  # both formats, as during an upgrade
        )

    async def _publish_signed(self, channel: str, message: bytes) -> None:
        await self._publish(channel, self.key.sign(channel.encode(), message) if self.key else message)

    async def publish_raw(self, account: str, message: bytes) -> None:
        await self._publish(redis_account_channel(self._prefix, AccountId(account)), message)

    async def publish_to_lane(self, lane: int, message: bytes) -> None:
        await self._publish(redis_lane_channel(self._prefix, Lane(lane)), message)

    async def publish_batch(self, batch: LaneBatch) -> None:
        await self._publish(redis_batch_channel(self._prefix, batch.lane), encode_batch(batch))

    async def _publish(self, channel: str, message: bytes) -> None:
        if self._publisher:
            await self._publisher.publish([(channel, message)])
        else:
            await self._redis.publish(channel, message)

    async def publish_progress(self, lane: int, *, behind: bool) -> None:
        message = encode_progress(ProgressMessage(Lane(lane), self.epoch, self.as_of, behind))
        await self._publish_signed(redis_lane_channel(self._prefix, Lane(lane)), message)

    async def advance(self) -> None:
        """Completes every lane as of a later time, without a change."""
        await self.write({})

    async def _write(self, account: FakeAccount, changes: list[int | None]) -> Delta:
        before = account.revision
        new = [transfer for amount in changes for transfer in account.change(amount)]
        await self._sql.executemany(
            "insert into transfer values"
            " ($1, $2, $3, $4::text::numeric, $5::text::numeric, $6, $6, 'transfers', $7, $8)",
            [
                (
                    account.id,
                    transfer.revision,
                    transfer.id,
                    transfer.amount,
                    transfer.total,
                    as_datetime(Millis(START + int(transfer.id[2:]))),
                    account.lane,
                    int(transfer.id[2:]),
                )
                for transfer in new
            ],
        )
        await self._write_balance(account)
        parts = DeltaParts(
            epoch=self.epoch,
            from_=Revision(before),
            to=Revision(account.revision),
            recorded_at=self.as_of,
            balance=balance_json(account.balance()),
            transfers=transfers_json(new),
        )
        return make_delta(account.id, account.lane, parts)

    async def _write_balance(self, account: FakeAccount) -> None:
        view = account.balance()
        row: dict[str, Any] = {
            "account_id": account.id,
            "revision": account.revision,
            "lane": account.lane,
            "balance": view and view.amount,
            "scale": view and 2,
            "currency": view and view.currency,
            "version": view and view.version,
            "transfer_id": view and view.transfer_id,
            "client_id": view and view.client_id,
            "opening": view and view.opening,
            "half_applied": view and view.half_applied,
            "drift": view and view.drift,
            "posted_total": str(Money(account.total, 2)),
            "transfer_count": len(account.transfers),
            "recorded_at": as_datetime(self.as_of),
        }
        amounts = {"balance", "opening", "half_applied", "drift", "posted_total"}
        values = [f"${n}::text::numeric" if name in amounts else f"${n}" for n, name in enumerate(row, 1)]
        await self._sql.execute(
            f"insert into balance ({', '.join(row)}) values ({', '.join(values)})"
            f" on conflict (account_id) do update set"
            f" {', '.join(f'{name} = excluded.{name}' for name in row)}",
            *row.values(),
        )

    async def change_epoch(self, epoch: str) -> None:
        """Changes the epoch, as after a restore. Revisions of another epoch mean nothing."""
        self.epoch = Epoch(epoch)
        async with self._sql.transaction():
            await self._sql.execute("update projection set epoch = $1", epoch)
            await self._sql.execute("update lane set epoch = $1", epoch)

    async def erase(self, account: str) -> None:
        old = self.account(account)
        new = self.accounts[old.id] = FakeAccount(old.id, revision=old.revision + 1)
        async with self._sql.transaction():
            await self._sql.execute("delete from transfer where account_id = $1", account)
            await self._write_balance(new)
            await self._sql.execute(
                "update balance set erased_revision = revision where account_id = $1", account
            )
            numbered = await self._number([new])
        parts = DeltaParts(
            self.epoch, Revision(old.revision), Revision(new.revision), self.as_of, b"null", b""
        )
        if not self.silent:
            await self.publish(account, make_delta(old.id, old.lane, parts, gone=True))
        await self._publish_batches(numbered)

    async def kill_subscribers(self) -> None:
        """Makes Redis close every pub/sub connection."""
        await self._redis.client_kill_filter(_type="pubsub")

    async def revisions(self) -> dict[str, int]:
        """Returns the revision of every account in Postgres."""
        rows = await self._sql.fetch("select account_id, revision from balance")
        return {row["account_id"]: row["revision"] for row in rows}

    async def execute(self, statement: str, *values: Any) -> None:
        await self._sql.execute(statement, *values)

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        return await self._sql.fetch(statement, *values)


@asynccontextmanager
async def transferring(
    projector: FakeProjector, accounts: Sequence[str], pause: float = 0.003
) -> AsyncIterator[None]:
    """Writes transfers all the time, to each account in turn. The last transfer is complete at the end."""
    done = asyncio.Event()

    async def transfer() -> None:
        for account in cycle(accounts):
            if done.is_set():
                return
            await projector.transfer(account, 125)
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        group.create_task(transfer())
        try:
            yield
        finally:
            done.set()
