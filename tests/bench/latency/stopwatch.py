"""How long transfers took to arrive at a client in this process."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime

from livebalance.client.client import Client
from livebalance.client.event import Changed


@dataclass
class Stopwatch:
    """Measures from a transfer's timestamp to the read of the frame that has it, in ms."""

    transfers: list[float] = field(default_factory=list)
    read_at: float = 0.0  # time of the last frame, ms
    first: asyncio.Event = field(default_factory=asyncio.Event)

    def note_frame(self, _: bytes) -> None:
        self.read_at = time.time() * 1000

    def note_change(self, event: Changed) -> None:
        for transfer in event.frame.transfers:
            sent_at = datetime.fromisoformat(transfer.occurred_at).timestamp() * 1000
            self.transfers.append(self.read_at - sent_at)
            self.first.set()

    def clear(self) -> None:
        self.transfers.clear()


async def receive(client: Client, stopwatch: Stopwatch) -> None:
    async for event in client.events():
        if isinstance(event, Changed):
            stopwatch.note_change(event)
