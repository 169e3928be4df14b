"""A client that records every frame it receives, so that a checker can judge them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from livebalance.client.client import Client, TokenProvider
from livebalance.client.event import Changed, Connected, Event
from livebalance.wire.frame import DeltaFrame, Snapshot, decode_server_frame
from livebalance.wire.identity import AccountId
from tests.checker import ClientLog, replay


class RecordingClient:
    """Follows `accounts` at the gateway or balancer with the HTTP address `url`.

    The frames are checked by tests/checker.py, which shares no code with the client.
    """

    def __init__(self, name: str, url: str, accounts: Sequence[AccountId], token: TokenProvider) -> None:
        self.name = name
        self.accounts = accounts
        self.url = url.replace("http", "ws", 1) + "/ws"
        self.client = Client(self.url, token=token, on_frame=self._record_frame)
        self.connections = 0
        self.deltas = 0
        self.recovery_snapshots: list[Snapshot] = []  # every snapshot whose reason is not `subscribed`
        self._answered_channels: set[str] = set()
        self._unchecked_frames: list[bytes] = []
        self._logs: dict[str, ClientLog] = {}
        self._changed = asyncio.Event()

    def _record_frame(self, text: bytes) -> None:
        self._unchecked_frames.append(text)

    async def run(self) -> None:
        """Receives until cancelled."""
        async with self.client as client:
            for account in self.accounts:
                client.follow(account)
            async for event in client.events():
                self.handle_event(event)
                self._changed.set()
        raise AssertionError(f"{self.name} was disconnected for good")

    def handle_event(self, event: Event) -> None:
        """Counts an event of the client."""
        self.connections += isinstance(event, Connected)
        if isinstance(event, Changed):
            self._count_frame(event.frame)

    def _count_frame(self, frame: Snapshot | DeltaFrame) -> None:
        self._answered_channels.add(frame.channel)
        self.deltas += isinstance(frame, DeltaFrame)
        if isinstance(frame, Snapshot) and frame.reason != "subscribed":
            self.recovery_snapshots.append(frame)

    def revisions(self) -> dict[str, int]:
        """Returns the client's revision of each account, 0 before the first answer."""
        states = {account: self.client.account_state(account) for account in self.accounts}
        return {account: state.position.revision if state else 0 for account, state in states.items()}

    async def wait_until_subscribed(self) -> None:
        """Waits until the client has received a first answer for every account."""
        await self._wait_until(lambda: len(self._answered_channels) == len(self.accounts))

    async def wait_for_connections(self, count: int) -> None:
        """Waits until the client has connected `count` times since its start."""
        await self._wait_until(lambda: self.connections >= count)

    async def wait_for_deltas(self, count: int) -> None:
        """Waits until the client has received `count` deltas since its start."""
        await self._wait_until(lambda: self.deltas >= count)

    async def wait_for_revisions(self, revisions: Mapping[str, int]) -> None:
        """Waits until every account of the client has at least its revision of `revisions`."""
        await self._wait_until(
            lambda: all(revision >= revisions[account] for account, revision in self.revisions().items())
        )

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def checked_logs(self) -> dict[str, ClientLog]:
        """Returns the log of each channel, after the checker has replayed it.

        Raises:
            Violation: a frame violates a rule of the protocol.
        """
        frames = [frame for text in self._unchecked_frames if (frame := decode_server_frame(text))]
        self._unchecked_frames.clear()
        return replay(frames, self._logs)
