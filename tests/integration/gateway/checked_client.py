"""The Python client, which reconnects by itself, with a log of its frames that must chain."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from livebalance.client.client import Client
from livebalance.client.event import Event
from livebalance.wire.frame import ServerFrame, decode_server_frame
from livebalance.wire.identity import AccountId, Position, Revision, channel_name
from tests.checker import ClientLog, replay
from tests.integration.gateway.fake_projector import FakeProjector
from tests.tokens import token_source

Kind = TypeVar("Kind", bound=Event)


class CheckedClient:
    """Follows `accounts` at the first of `urls` that serves it."""

    def __init__(self, urls: Sequence[str], accounts: Sequence[str]) -> None:
        self._log: list[bytes] = []
        self._client = Client(*urls, token=token_source(), on_frame=self._log.append)
        self._accounts = accounts
        self.events: list[Event] = []
        self._changed = asyncio.Condition()
        self._reader: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        for account in self._accounts:
            self._client.follow(AccountId(account))
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.stop()
        self._reader.cancel()
        await asyncio.wait({self._reader})
        if not self._reader.cancelled() and error is None:
            self._reader.result()

    def rate(self, max_per_second: float) -> None:
        self._client.rate(max_per_second)

    async def _read(self) -> None:
        async for event in self._client.events():
            self.events.append(event)
            async with self._changed:
                self._changed.notify_all()

    async def until(self, happened: Callable[[], object], within: float = 30.0) -> None:
        """Waits until `happened()` is true. It is called after every event."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: happened() or self._reader.done())
        assert happened(), self.events[-3:]

    async def until_current(self, projector: FakeProjector, within: float = 30.0) -> None:
        """Waits until the client shows every account as the projector wrote it."""
        await self.until(
            lambda: all(self._is_current(projector, account) for account in self._accounts), within
        )

    def _is_current(self, projector: FakeProjector, account: str) -> bool:
        shown = self._client.account_state(AccountId(account))
        return shown is not None and shown.position == Position(
            projector.epoch, Revision(projector.account(account).revision)
        )

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def frames(self) -> list[ServerFrame]:
        return [frame for text in self._log if (frame := decode_server_frame(text))]

    def assert_exact(self, projector: FakeProjector) -> dict[str, ClientLog]:
        """The log chains without a gap, and has every transfer of every account, once and in order."""
        ledgers = replay(self.frames)
        for account in self._accounts:
            ledger, expected = ledgers[channel_name(AccountId(account))], projector.account(account)
            assert not ledger.gaps
            assert [(transfer.id, transfer.total) for transfer in ledger.transfers] == [
                (transfer.id, transfer.total) for transfer in expected.transfers
            ]
            assert ledger.balance == expected.balance()
        return ledgers
