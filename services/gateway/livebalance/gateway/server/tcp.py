"""The TCP connection of a client: buffer limits, unacknowledged bytes, timeouts."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import NamedTuple

CLOSE_TIMEOUT_SECONDS = 5.0  # time for a client to receive the last bytes and to close in turn
ABNORMAL_CLOSURE = 1006  # for a connection that ended without a close frame (RFC 6455 §7.1.5)

_OUTQ = struct.Struct("i")
# In struct tcp_info, field tcpi_last_ack_recv: milliseconds since the other side acknowledged anything.
_LAST_ACK = struct.Struct("56xI")


class TransportTimeouts(NamedTuple):
    """How long a client may be silent, and how many bytes may wait for it."""

    # Seconds. Within the next interval and a second, the client must answer or acknowledge bytes.
    ping_interval: float = 20.0
    write_timeout: float = 120.0  # seconds in which bytes wait and the client acknowledges none of them
    high_water: int = 64 * 1024  # bytes in the transport's buffer from which on it is not writable
    send_buffer: int = 128 * 1024  # bytes of the kernel's buffer (SO_SNDBUF)
    message_timeout: float = 10.0  # seconds for a message to arrive completely


class RestartableTimer:
    """A timer that calls back once. Starting it again replaces the earlier call."""

    __slots__ = ("_handle",)

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether the timer was started and has neither called back nor been cancelled."""
        return self._handle is not None

    def start(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls `callback` in so many seconds."""
        self.cancel()
        self._handle = asyncio.get_running_loop().call_later(seconds, self._expire, callback)

    def cancel(self) -> None:
        """Drops the call, if one is due."""
        if self._handle:
            self._handle.cancel()
            self._handle = None

    def _expire(self, callback: Callable[[], None]) -> None:
        self._handle = None
        callback()


class WriteProgress:
    """Compares the bytes written to a client with those that it has acknowledged. Pure: no I/O."""

    __slots__ = ("_acknowledged", "_since", "written")

    def __init__(self, now: float) -> None:
        self.written = 0  # bytes since the connection began
        self._acknowledged = 0
        self._since = now

    def seconds_without(self, now: float, unacknowledged: int, *, alive: bool) -> float:
        """Returns the seconds without progress. Called once per ping interval.

        Progress: the client has acknowledged bytes since the last call, or is `alive` by another sign.
        """
        acknowledged = self.written - unacknowledged
        if alive or acknowledged > self._acknowledged:
            self._since = now
        self._acknowledged = acknowledged
        return now - self._since


def set_buffer_limits(transport: asyncio.Transport, timeouts: TransportTimeouts) -> None:
    """Limits the bytes that wait in the transport and in the kernel."""
    transport.set_write_buffer_limits(high=timeouts.high_water)
    with contextlib.suppress(OSError):
        _socket(transport).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, timeouts.send_buffer)


def unacknowledged_bytes(transport: asyncio.Transport) -> int:
    """Returns the bytes written that the other side has not acknowledged, as far as the kernel knows."""
    size = transport.get_write_buffer_size()
    with contextlib.suppress(OSError):
        answer = fcntl.ioctl(_socket(transport).fileno(), termios.TIOCOUTQ, b"\0" * _OUTQ.size)
        size += _OUTQ.unpack(answer)[0]
    return size


def is_unreachable(transport: asyncio.Transport, timeouts: TransportTimeouts, quiet: float) -> bool:
    """Returns whether the client's system, not only the client, has been silent for `quiet` seconds.

    A reachable system acknowledges each retransmission and window probe, even if the client reads nothing.
    The kernel doubles the time between those, so the last acknowledgement is never much older than half
    of `quiet`.
    """
    seconds = 0.0
    with contextlib.suppress(OSError):
        info = _socket(transport).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK.size)
        seconds = _LAST_ACK.unpack(info)[0] / 1000
    return seconds >= max(1.5 * timeouts.ping_interval, 0.9 * quiet)


def _socket(transport: asyncio.Transport) -> socket.socket:
    raw: socket.socket = transport.get_extra_info("socket")
    return raw
