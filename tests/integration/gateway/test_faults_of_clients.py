"""Clients that are slow, dead, cut off without a word, or ask for everything at once: nobody else notices."""

import ctypes
import socket
import struct

from livebalance.client.event import Connected, Disconnected
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.hole import hole
from tests.integration.gateway.test_following import assert_shows
from tests.integration.gateway.viewer import Viewer
from tests.integration.gateway.watcher import Watcher

SO_ATTACH_FILTER = 26  # of Linux


def drop_packets(viewer: Viewer) -> None:
    """All that come for it are lost from now on: nothing of them is acknowledged."""
    verdict = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # a filter that takes 0 bytes
    program = struct.pack("@HP", 1, ctypes.addressof(verdict))
    one: socket.socket = viewer.transport.get_extra_info("socket")
    one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


async def test_f30_connections_that_are_open_on_one_side(start_gateway: StartGateway, book: Book) -> None:
    """Nothing passes any more, in either direction, and nothing closes: each side finds out by itself."""
    gateway = await start_gateway(heartbeat=0.3, ping_period=1.0)
    await book.open("alice")
    async with (
        hole(gateway.ws) as (wire, through_it),
        Viewer(gateway.ws) as neighbour,
        Viewer(through_it) as swallowed,  # what is sent to it is acknowledged by a system on the way
        Viewer(gateway.ws) as dropped,
        Watcher([through_it, gateway.ws], ["alice"]) as watcher,
    ):
        for viewer in (neighbour, swallowed, dropped):
            await viewer.follow("alice")
            await viewer.until_at("alice", 1)
        await watcher.until_current(book)
        before = await gateway.counted("closed", code="1006", reason="silent")
        wire.swallow()
        drop_packets(dropped)
        await book.move("alice", 5)
        assert_shows(await neighbour.until_at("alice", 3), book.page("alice"))
        await watcher.until(lambda: watcher.of(Disconnected))
        assert watcher.of(Disconnected)[0][:2] == (1006, "silent")
        await watcher.until_current(book)
        watcher.assert_exact(book)
        assert watcher.of(Connected)[-1].url == gateway.ws
        await gateway.until_sessions(2)
        assert await gateway.counted("closed", code="1006", reason="silent") >= before + 2
        assert (swallowed.revision("alice"), dropped.revision("alice")) == (1, 1)
        await book.move("alice", 5)
        assert_shows(await neighbour.until_at("alice", 5), book.page("alice"))
        assert len(neighbour.of_type("delta")) == 2
