"""A client of the release before, in a process of its own; what it hears is checked by today's checker."""

import asyncio
import os
import sys
from collections.abc import Sequence

from livebalance.client.client import MAX_FRAME_BYTES
from livebalance.stack.paths import PROJECT
from livebalance.wire.frame import DeltaFrame, Snapshot, Welcome, decode_server_frame
from livebalance.wire.identity import AccountId
from tests.acceptance.end_to_end.recording_client import Listener
from tests.acceptance.upgrade import previous_release_program
from tests.previous import Previous
from tests.tokens import token_source


class Veteran(Listener):
    def __init__(
        self, name: str, url: str, accounts: Sequence[AccountId], secret: str, previous: Previous
    ) -> None:
        super().__init__(name, url, accounts, token_source(secret))
        self.kinds: set[str] = set()  # of the frames it heard
        self.told: list[str] = []  # all but data
        self._arguments = [self.url, secret, *accounts]
        self._environment = {**os.environ, **previous.environment}
        self._shows: dict[str, int] = {}

    async def listen(self) -> None:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", previous_release_program.__name__, *self._arguments),
            cwd=PROJECT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_FRAME_BYTES,
        )
        assert program.stdout
        try:
            async for line in program.stdout:
                what, _, text = line.decode().rstrip("\n").partition(" ")
                {"heard": self._heard, "shows": self._shown, "told": self.told.append}[what](text)
                self._moved.set()
        finally:
            if program.returncode is None:
                program.kill()
            await program.wait()
        raise AssertionError(f"{self.name} has ended")

    def _heard(self, text: str) -> None:
        self._hear(text.encode())
        frame = decode_server_frame(text.encode())
        self.kinds.add(type(frame).__name__)
        self.connections += isinstance(frame, Welcome)
        if isinstance(frame, Snapshot | DeltaFrame):
            self._count(frame)

    def _shown(self, text: str) -> None:
        account, _, revision = text.partition(" ")
        self._shows[account] = int(revision)

    def revisions(self) -> dict[str, int]:
        return {account: self._shows.get(account, 0) for account in self.accounts}
