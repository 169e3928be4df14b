"""The Python client with all that it was told: it comes back by itself, and its log must chain."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from livebalance.client.client import Client
from livebalance.client.event import Event
from livebalance.wire.frame import ServerFrame, decode_server_frame
from livebalance.wire.identity import AccountId, Position, Revision, channel_name
from tests.checker import ClientLog, replay
from tests.integration.gateway.book import Book
from tests.tokens import tokens

Kind = TypeVar("Kind", bound=Event)


class Watcher:
    """Follows `accounts` at the first of `urls` that serves it."""

    def __init__(self, urls: Sequence[str], accounts: Sequence[str]) -> None:
        self._log: list[bytes] = []
        self._client = Client(*urls, token=tokens(), heard=self._log.append)
        self._accounts = accounts
        self.events: list[Event] = []
        self._news = asyncio.Condition()
        self._listening: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        for account in self._accounts:
            self._client.follow(AccountId(account))
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.stop()
        self._listening.cancel()
        await asyncio.wait({self._listening})
        if not self._listening.cancelled() and error is None:
            self._listening.result()

    async def _listen(self) -> None:
        async for event in self._client.events():
            self.events.append(event)
            async with self._news:
                self._news.notify_all()

    async def until(self, happened: Callable[[], object], within: float = 15.0) -> None:
        """Waits until `happened()` is true, asked after every event."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: happened() or self._listening.done())
        assert happened(), self.events[-3:]

    async def until_current(self, book: Book, within: float = 15.0) -> None:
        """At SQL's rows: those that the book has written."""
        await self.until(lambda: all(self._is_current(book, one) for one in self._accounts), within)

    def _is_current(self, book: Book, account: str) -> bool:
        shown = self._client.shown(AccountId(account))
        return shown is not None and shown.position == Position(
            book.epoch, Revision(book.page(account).revision)
        )

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def frames(self) -> list[ServerFrame]:
        return [frame for text in self._log if (frame := decode_server_frame(text))]

    def assert_exact(self, book: Book) -> dict[str, ClientLog]:
        """Its log chains without a gap, and holds every transfer of every account, once and in order."""
        ledgers = replay(self.frames)
        for account in self._accounts:
            ledger, page = ledgers[channel_name(AccountId(account))], book.page(account)
            assert not ledger.gaps
            assert [(one.id, one.total) for one in ledger.transfers] == [
                (one.id, one.total) for one in page.transfers
            ]
            assert ledger.balance == page.balance()
        return ledgers
