"""A connection to a server of Redis that speaks RESP3 with a bare parser."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import hiredis

from livebalance.runtime import logs

_log = logs.get("deltas")


class Resp3Connection(asyncio.Protocol):
    """The first reply, and pushes: a batch for each read of the socket."""

    def __init__(
        self, pushed: Callable[[list[list[Any]]], None], refused: Callable[[hiredis.ReplyError], None]
    ) -> None:
        self._pushed = pushed
        self._refused = refused
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[Any] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            if pushes := self._pushes():
                self._pushed(pushes)
        except hiredis.ProtocolError:
            _log.warning("redis speaks another protocol")
            self.abort()
        except Exception as bug:  # the loop would only log it: whoever waits is to fall with it
            if not self.lost.done():
                self.lost.set_exception(bug)

    def _pushes(self) -> list[list[Any]]:
        pushes: list[list[Any]] = []
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification):
                pushes.append(reply)
            elif not self.greeted.done():
                self.greeted.set_result(reply)
            elif isinstance(reply, hiredis.ReplyError):
                self._refused(reply)
        return pushes

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, *command: str | bytes) -> None:
        if self._transport and not self._transport.is_closing():  # uvloop raises on a closed one
            packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub: one word
            self._transport.write(packed)

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()
