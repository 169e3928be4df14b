"""A RESP3 connection to a Redis node, on hiredis' parser."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import hiredis

from livebalance.runtime import logs

FEED_BYTES = 8192  # hiredis moves what it was fed to the front of its buffer after each KiB that it parses

_log = logs.get("redis")


class Resp3Connection(asyncio.Protocol):
    """Passes pushes on, a batch for each read of the socket. Other replies are errors, except the first."""

    def __init__(
        self, on_pushes: Callable[[list[list[Any]]], None], on_error: Callable[[hiredis.ReplyError], None]
    ) -> None:
        self._on_pushes = on_pushes
        self._on_error = on_error
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.first_reply: asyncio.Future[Any] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio when the node has accepted the connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Called by asyncio when bytes have arrived."""
        try:
            if pushes := self._parse(data):
                self._on_pushes(pushes)
        except hiredis.ProtocolError:
            _log.warning("redis reply invalid")
            self.abort()
        except Exception as bug:  # the event loop would only log it, and the task that waits would not fail
            if not self.lost.done():
                self.lost.set_exception(bug)

    def _parse(self, data: bytes) -> list[list[Any]]:
        pushes: list[list[Any]] = []
        for start in range(0, len(data), FEED_BYTES):
            self._reader.feed(data, start, min(FEED_BYTES, len(data) - start))
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):
                    pushes.append(reply)
                elif not self.first_reply.done():
                    self.first_reply.set_result(reply)
                elif isinstance(reply, hiredis.ReplyError):
                    self._on_error(reply)
        return pushes

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection is closed."""
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, *command: str | bytes) -> None:
        """Sends a command, unless the connection is closing."""
        if self._transport and not self._transport.is_closing():  # uvloop raises if it is closed
            packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub: one word
            self._transport.write(packed)

    def pause(self, seconds: float) -> None:
        """Reads nothing for a while. What Redis sends meanwhile arrives in a single read afterwards."""
        if self._transport and self._transport.is_reading():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Closes the connection at once."""
        if self._transport:
            self._transport.abort()
