"""The client for programs without an event loop: scripts, notebooks, threads."""

import asyncio
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from livebalance.client.account import Account
from livebalance.client.account_set import AccountSet
from livebalance.client.client import Client
from livebalance.client.event import Event
from livebalance.wire.identity import AccountId, Position


class SyncClient:
    """Follows accounts as `Client` does. It is for one thread, and works only while a method of it runs.

        with SyncClient("ws://127.0.0.1:8080/ws", token=token) as client:
            client.follow(AccountId("alice"))
            for event in client.events():
                ...

    If the loop pauses for longer than a few heartbeats, the client reconnects afterwards and misses nothing.

    Args:
        urls: Addresses of gateways, tried in turn.
        token: Called for each connection and each read, and again before a connection's token expires. Its
            errors are handled as those of a `TokenProvider`.
        patches: Asks for patches, as `Client` does.
    """

    def __init__(self, *urls: str, token: Callable[[], str] | None = None, patches: bool = False) -> None:
        async def provide() -> str:
            assert token
            return await asyncio.to_thread(token)

        self._client = Client(*urls, token=provide if token else None, patches=patches)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and the event loop. The client cannot be used again."""
        self._runner.run(self._client.stop())
        self._runner.close()

    def follow(self, account: AccountId, since: Position | None = None) -> None:
        """Subscribes to an account, as `Client.follow` does."""
        self._client.follow(account, since)

    def unfollow(self, account: AccountId) -> None:
        """Unsubscribes from an account. The account causes no further events."""
        self._client.unfollow(account)

    def follow_set(self, channel: str) -> None:
        """Subscribes to a set of accounts: `prefix:<prefix>` or `client:<client id>`.

        Each `SetChanged` event has the members and the total of a position. Needs a gateway with the feature
        `sets`; any other answers with an error.

        Raises:
            DecodeError: `channel` is not the name of a set.
        """
        self._client.follow_set(channel)

    def unfollow_set(self, channel: str) -> None:
        """Unsubscribes from a set. The set causes no further events."""
        self._client.unfollow_set(channel)

    def set_state(self, channel: str) -> AccountSet | None:
        """Returns a set at its last position, or None before the first."""
        return self._client.set_state(channel)

    def rate(self, max_per_second: float | None) -> None:
        """Sets the maximum updates per second, as `Client.rate` does."""
        self._client.rate(max_per_second)

    def account_state(self, account: AccountId) -> Account | None:
        """Returns the current state of an account, or None before its first frame."""
        return self._client.account_state(account)

    def events(self) -> Iterator[Event]:
        """Yields events until a Disconnected event has no `retry_in`. The loop may be entered again."""
        while (event := self._runner.run(self._next_event())) is not None:
            yield event

    def read(self, account: AccountId, *, min_revision: int = 0, within: float = 10.0) -> Account:
        """Returns the state of an account, as `Client.read` does."""
        return self._runner.run(self._client.read(account, min_revision=min_revision, within=within))

    async def _next_event(self) -> Event | None:
        events = self._client.events()
        try:
            return await anext(events, None)
        finally:
            await events.aclose()
