"""Writes accounts as a projector does: rows in one transaction, then one delta per account to Redis."""

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
from livebalance.wire.timestamp import Millis, as_datetime, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, balance_json, format_source, transfers_json

LANES = 3
START = Millis(1_795_000_000_000)


@dataclass
class Page:
    """One account: whole cents, and every transfer ever written, in order."""

    account: AccountId
    revision: int = 0
    total: int = 0
    version: int = -1  # no balance record yet
    named: str = ""  # the transfer the balance names
    transfers: list[TransferView] = field(default_factory=list)

    @property
    def lane(self) -> Lane:
        return Lane(sum(self.account.encode()) % LANES)

    @property
    def named_total(self) -> int:
        return next((cents(one.total) for one in self.transfers if one.id == self.named), 0)

    def balance(self) -> BalanceView | None:
        if self.version < 0:
            return None
        behind = str(Money(self.total - self.named_total, 2))
        return BalanceView(
            amount=str(Money(self.named_total, 2)),
            currency="EUR",
            version=self.version,
            revision=Revision(self.revision),
            transfer_id=TransferId(self.named),
            client_id="client-1",
            opening="0.00",
            half_applied=behind,
            drift="0.00",
            disputed_since=None,
        )

    def change(self, amount: int | None) -> list[TransferView]:
        """A transfer of that many cents, or (None) the balance record of the last one."""
        self.revision += 1
        if amount is None:
            self.version += 1
            self.named = self.transfers[-1].id if self.transfers and self.version else ""
            return []
        self.total += amount
        number = len(self.transfers)
        one = TransferView(
            id=TransferId(f"t-{number}"),
            amount=str(Money(amount, 2)),
            total=str(Money(self.total, 2)),
            occurred_at=format_rfc3339(Millis(START + number)),
            revision=Revision(self.revision),
            source=format_source("transfers", self.lane, Offset(number)),
        )
        self.transfers.append(one)
        return [one]


async def _rung(url: str, prefix: str) -> Publisher:
    """Once a ring was taken."""
    doorbell = Publisher(url)
    doorbell.start()
    async with asyncio.timeout(10):
        taken = metrics.published_messages._value.get()
        while metrics.published_messages._value.get() == taken:
            await doorbell.publish([(f"{prefix}nobody", b"")])
            await asyncio.sleep(0.05)
    return doorbell


def cents(text: str) -> int:
    return int(text.replace(".", ""))


class Book:
    """All accounts of a database. `deaf` makes it commit without publishing, as if Redis had lost it all."""

    def __init__(self, postgres: str, redis_url: str, prefix: str) -> None:
        self._postgres, self._redis_url, self._prefix = postgres, redis_url, prefix
        self.pages: dict[AccountId, Page] = {}
        self.epoch = Epoch("00000000000000a1")
        self.as_of = START
        self.deaf = False
        self._sql: asyncpg.Connection[asyncpg.Record]
        self._redis: redis.asyncio.Redis
        self._doorbell: Publisher | None = None  # of a cluster: a projector's own

    async def __aenter__(self) -> Self:
        self._sql = await asyncpg.connect(self._postgres)
        if RedisUrl.parse(self._redis_url).clustered:
            self._doorbell = await _rung(self._redis_url, self._prefix)
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
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sql.close()
        await (self._doorbell.close() if self._doorbell else self._redis.aclose())

    def page(self, account: str) -> Page:
        return self.pages.setdefault(AccountId(account), Page(AccountId(account)))

    async def open(self, *accounts: str) -> None:
        """Each gets its balance record of version 0."""
        await self.write({account: [None] for account in accounts})

    async def move(self, account: str, *amounts: int) -> None:
        """Transfers, each followed by its balance record, in one batch."""
        await self.write({account: [one for amount in amounts for one in (amount, None)]})

    async def write(self, batch: dict[str, list[int | None]]) -> None:
        """One transaction, then the deltas."""
        self.as_of = Millis(self.as_of + 1000)
        deltas = []
        async with self._sql.transaction():
            await self._sql.execute("update lane set as_of = $1", as_datetime(self.as_of))
            for account, changes in batch.items():
                deltas.append(await self._write(self.page(account), changes))
        for delta, account in zip(deltas, batch, strict=True):
            if not self.deaf:
                await self.publish(account, delta)

    async def commit(self, account: str, changes: list[int | None]) -> Delta:
        """One transaction; its delta is for the caller to publish."""
        async with self._sql.transaction():
            return await self._write(self.page(account), changes)

    async def publish(self, account: str, delta: Delta) -> None:
        await self.publish_raw(account, encode_delta(delta))

    async def publish_raw(self, account: str, message: bytes) -> None:
        await self._publish(redis_account_channel(self._prefix, AccountId(account)), message)

    async def publish_to_lane(self, lane: int, message: bytes) -> None:
        await self._publish(redis_lane_channel(self._prefix, Lane(lane)), message)

    async def _publish(self, channel: str, message: bytes) -> None:
        if self._doorbell:
            await self._doorbell.publish([(channel, message)])
        else:
            await self._redis.publish(channel, message)

    async def progress(self, lane: int, *, behind: bool) -> None:
        message = encode_progress(ProgressMessage(Lane(lane), self.epoch, self.as_of, behind))
        await self.publish_to_lane(lane, message)

    async def advance(self) -> None:
        """Nothing happened, and that is known."""
        await self.write({})

    async def _write(self, page: Page, changes: list[int | None]) -> Delta:
        before = page.revision
        new = [one for amount in changes for one in page.change(amount)]
        await self._sql.executemany(
            "insert into transfer values"
            " ($1, $2, $3, $4::text::numeric, $5::text::numeric, $6, $6, 'transfers', $7, $8)",
            [
                (
                    page.account,
                    one.revision,
                    one.id,
                    one.amount,
                    one.total,
                    as_datetime(Millis(START + int(one.id[2:]))),
                    page.lane,
                    int(one.id[2:]),
                )
                for one in new
            ],
        )
        await self._write_balance(page)
        parts = DeltaParts(
            epoch=self.epoch,
            from_=Revision(before),
            to=Revision(page.revision),
            recorded_at=self.as_of,
            balance=balance_json(page.balance()),
            transfers=transfers_json(new),
        )
        return make_delta(page.account, page.lane, parts)

    async def _write_balance(self, page: Page) -> None:
        view = page.balance()
        row: dict[str, Any] = {
            "account_id": page.account,
            "revision": page.revision,
            "lane": page.lane,
            "balance": view and view.amount,
            "scale": view and 2,
            "currency": view and view.currency,
            "version": view and view.version,
            "transfer_id": view and view.transfer_id,
            "client_id": view and view.client_id,
            "opening": view and view.opening,
            "half_applied": view and view.half_applied,
            "drift": view and view.drift,
            "posted_total": str(Money(page.total, 2)),
            "transfer_count": len(page.transfers),
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
        """Another epoch, as after a restore: every revision is counted anew."""
        self.epoch = Epoch(epoch)
        async with self._sql.transaction():
            await self._sql.execute("update projection set epoch = $1", epoch)
            await self._sql.execute("update lane set epoch = $1", epoch)

    async def erase(self, account: str) -> None:
        page = self.page(account)
        before = page.revision
        fresh = self.pages[page.account] = Page(page.account, revision=before + 1)
        async with self._sql.transaction():
            await self._sql.execute("delete from transfer where account_id = $1", account)
            await self._write_balance(fresh)
        parts = DeltaParts(self.epoch, Revision(before), Revision(before + 1), self.as_of, b"null", b"")
        if not self.deaf:
            await self.publish(account, make_delta(page.account, page.lane, parts, gone=True))

    async def kill_subscribers(self) -> None:
        """RedisUrl drops every connection that listens."""
        await self._redis.client_kill_filter(_type="pubsub")

    async def revisions(self) -> dict[str, int]:
        """Of every account, as SQL has them."""
        rows = await self._sql.fetch("select account_id, revision from balance")
        return {row["account_id"]: row["revision"] for row in rows}

    async def execute(self, statement: str, *values: Any) -> None:
        await self._sql.execute(statement, *values)


@asynccontextmanager
async def paying(book: Book, accounts: Sequence[str], pause: float = 0.003) -> AsyncIterator[None]:
    """Money moves all the time, on one account after the other; what was begun is written at the end."""
    done = asyncio.Event()

    async def pay() -> None:
        for account in cycle(accounts):
            if done.is_set():
                return
            await book.move(account, 125)
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        group.create_task(pay())
        try:
            yield
        finally:
            done.set()
