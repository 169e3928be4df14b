"""A socket with a small receive buffer, so that a client that reads slowly is noticed soon."""

import socket
from urllib.parse import urlsplit

RECEIVE_BUFFER = 4096  # bytes


def narrow_socket(url: str) -> socket.socket:
    """Returns a socket that is connected to the host of `url`."""
    address = urlsplit(url)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    narrow.connect((address.hostname, address.port))
    narrow.setblocking(False)
    return narrow
