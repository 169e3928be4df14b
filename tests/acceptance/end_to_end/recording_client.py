"""A client at one door, and everything it was sent."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from livebalance.client.client import Client, TokenProvider
from livebalance.client.event import Changed, Connected, Event
from livebalance.wire.frame import DeltaFrame, Snapshot, decode_server_frame
from livebalance.wire.identity import AccountId
from tests.checker import ClientLog, replay


class Listener:
    """`url` is of the door's page. What it was sent is checked by a checker, not by the client."""

    def __init__(self, name: str, url: str, accounts: Sequence[AccountId], token: TokenProvider) -> None:
        self.name = name
        self.accounts = accounts
        self.url = url.replace("http", "ws", 1) + "/ws"
        self.client = Client(self.url, token=token, on_frame=self._hear)
        self.connections = 0
        self.deltas = 0
        self.odd_snapshots: list[Snapshot] = []  # for any other reason than a first subscription
        self._answered: set[str] = set()  # channels
        self._unchecked: list[bytes] = []
        self._ledgers: dict[str, ClientLog] = {}
        self._moved = asyncio.Event()

    def _hear(self, text: bytes) -> None:
        self._unchecked.append(text)

    async def listen(self) -> None:
        """Until cancelled."""
        async with self.client as client:
            for account in self.accounts:
                client.follow(account)
            async for event in client.events():
                self.take(event)
                self._moved.set()
        raise AssertionError(f"{self.name} was told to stay away")

    def take(self, event: Event) -> None:
        """What the client tells."""
        self.connections += isinstance(event, Connected)
        if isinstance(event, Changed):
            self._count(event.frame)

    def _count(self, frame: Snapshot | DeltaFrame) -> None:
        self._answered.add(frame.channel)
        self.deltas += isinstance(frame, DeltaFrame)
        if isinstance(frame, Snapshot) and frame.reason != "subscribed":
            self.odd_snapshots.append(frame)

    def revisions(self) -> dict[str, int]:
        """Where each account is now; 0 until its first answer."""
        shown = {account: self.client.account_state(account) for account in self.accounts}
        return {account: state.position.revision if state else 0 for account, state in shown.items()}

    async def joined(self) -> None:
        """Wait until every account was answered."""
        await self._until(lambda: len(self._answered) == len(self.accounts))

    async def connected(self, times: int) -> None:
        """Wait until it was welcomed so often since the beginning."""
        await self._until(lambda: self.connections >= times)

    async def receive(self, deltas: int) -> None:
        """Wait until so many were sent since the beginning."""
        await self._until(lambda: self.deltas >= deltas)

    async def reach(self, revisions: Mapping[str, int]) -> None:
        """Wait until every account it follows is there or beyond."""
        await self._until(lambda: all(at >= revisions[name] for name, at in self.revisions().items()))

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._moved.clear()
            await self._moved.wait()

    def ledgers(self) -> dict[str, ClientLog]:
        """The log, replayed by the checker. Raises Violation."""
        frames = [frame for text in self._unchecked if (frame := decode_server_frame(text))]
        self._unchecked.clear()
        return replay(frames, self._ledgers)
