"""The connection to one client, below any protocol: how much may wait on it, and how much does."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from typing import NamedTuple

_OUTQ = struct.Struct("i")
_ACKED = struct.Struct("56xI")  # of tcp_info: ms since the other side acknowledged anything


class TransportTimeouts(NamedTuple):
    """How long a client may be silent, and how much may wait for it."""

    ping_period: float = 20.0  # seconds; a pong must come within the next, or bytes be acknowledged
    no_progress: float = 120.0  # seconds in which data waits and none of it leaves
    high_water: int = 64 * 1024  # bytes in the transport's buffer above which it takes no more
    send_buffer: int = 128 * 1024  # bytes, the kernel's
    assembly: float = 10.0  # seconds in which a message that began must end


def bound(transport: asyncio.Transport, patience: TransportTimeouts) -> None:
    """No more waits on it than these."""
    transport.set_write_buffer_limits(high=patience.high_water)
    with contextlib.suppress(OSError):
        _raw(transport).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, patience.send_buffer)


def waiting(transport: asyncio.Transport) -> int:
    """Bytes the other side has not acknowledged, as far as this system tells."""
    size = transport.get_write_buffer_size()
    with contextlib.suppress(OSError):
        answer = fcntl.ioctl(_raw(transport).fileno(), termios.TIOCOUTQ, b"\0" * _OUTQ.size)
        size += _OUTQ.unpack(answer)[0]
    return size


def is_cut_off(transport: asyncio.Transport, patience: TransportTimeouts, quiet: float) -> bool:
    """Not the client alone is silent, but its system, for all those seconds.

    While it lives it answers whatever ours repeats to it, even if it takes nothing. Each of these comes
    after twice the time, so the last answer is never much older than half of the silence.
    """
    unanswered = 0.0
    with contextlib.suppress(OSError):
        told = _raw(transport).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
        unanswered = _ACKED.unpack(told)[0] / 1000
    return unanswered >= max(1.5 * patience.ping_period, 0.9 * quiet)


def _raw(transport: asyncio.Transport) -> socket.socket:
    found: socket.socket = transport.get_extra_info("socket")
    return found
