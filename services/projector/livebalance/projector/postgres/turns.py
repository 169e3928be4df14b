"""Work beside the batches, in turns: one at a time, on a connection of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg

from livebalance.projector.errors import fate_of
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.connection import Connection
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate

_CONNECT_SECONDS = 5.0


class Turns:
    """Runs the turns of one kind of work. A transient error or a fence ends a turn, and the next goes on."""

    def __init__(
        self, settings: ProjectorSettings, work: str, max_seconds: float, **server_settings: str
    ) -> None:
        """Creates it without a turn.

        Args:
            settings: The connection, and the name of this process.
            work: A word for the work, in the log and in the name of the connection.
            max_seconds: A turn that takes longer is interrupted.
            server_settings: Settings of the connection.
        """
        self._settings, self._work, self._max_seconds = settings, work, max_seconds
        self._server_settings = {"application_name": f"{settings.name} {work}", **server_settings}
        self._task: asyncio.Task[None] | None = None

    async def is_over(self) -> bool:
        """Returns whether the last turn is over.

        Raises:
            Exception: The bug that ended it.
        """
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            await task
        return self._task is None

    def begin(self, turn: Callable[[Connection], Awaitable[None]]) -> None:
        """Begins a turn. The last one must be over."""
        self._task = asyncio.create_task(self._run(turn))

    async def aclose(self) -> None:
        """Ends the turn. What it has not committed is left to the next owner of the lanes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, turn: Callable[[Connection], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._max_seconds), self._connected() as connection:
                await turn(connection)
        except Exception as error:
            if fate_of(error) is Fate.BUG:
                raise
            logs.get(self._work).warning("turn interrupted", error=repr(error))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(
            self._settings.postgres.get_secret_value(),
            timeout=_CONNECT_SECONDS,
            server_settings=self._server_settings,
        )
        try:
            yield connection
        finally:
            connection.terminate()
