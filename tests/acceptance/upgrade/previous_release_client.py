"""A client of the previous release, in a process of its own; today's checker checks its frames."""

import asyncio
import os
import sys
from collections.abc import Sequence

from livebalance.client.client import MAX_FRAME_BYTES
from livebalance.stack.paths import PROJECT
from livebalance.wire.frame import DeltaFrame, Snapshot, Welcome, decode_server_frame
from livebalance.wire.identity import AccountId
from tests.acceptance.end_to_end.recording_client import RecordingClient
from tests.acceptance.upgrade import previous_release_program
from tests.previous import Previous
from tests.tokens import token_source


class PreviousReleaseClient(RecordingClient):
    """Runs previous_release_program with the code of `previous`, and records what it reports."""

    def __init__(
        self, name: str, url: str, accounts: Sequence[AccountId], secret: str, previous: Previous
    ) -> None:
        super().__init__(name, url, accounts, token_source(secret))
        self.frame_types: set[str] = set()
        self.event_types: list[str] = []  # without Changed
        self._arguments = [self.url, secret, *accounts]
        self._environment = {**os.environ, **previous.environment}
        self._revisions: dict[str, int] = {}

    async def run(self) -> None:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", previous_release_program.__name__, *self._arguments),
            cwd=PROJECT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_FRAME_BYTES,
        )
        assert program.stdout
        handlers = {
            "frame": self._handle_frame,
            "revision": self._handle_revision,
            "event": self.event_types.append,
        }
        try:
            async for line in program.stdout:
                kind, _, text = line.decode().rstrip("\n").partition(" ")
                handlers[kind](text)
                self._changed.set()
        finally:
            if program.returncode is None:
                program.kill()
            await program.wait()
        raise AssertionError(f"{self.name} has ended")

    def _handle_frame(self, text: str) -> None:
        self._record_frame(text.encode())
        frame = decode_server_frame(text.encode())
        self.frame_types.add(type(frame).__name__)
        self.connections += isinstance(frame, Welcome)
        if isinstance(frame, Snapshot | DeltaFrame):
            self._count_frame(frame)

    def _handle_revision(self, text: str) -> None:
        account, _, revision = text.partition(" ")
        self._revisions[account] = int(revision)

    def revisions(self) -> dict[str, int]:
        return {account: self._revisions.get(account, 0) for account in self.accounts}
