"""A straw: a connection whose system keeps next to nothing for who reads from it."""

import socket
from urllib.parse import urlsplit

RECEIVE_BUFFER = 4096  # bytes


def straw(url: str) -> socket.socket:
    at = urlsplit(url)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    one.connect((at.hostname, at.port))
    one.setblocking(False)
    return one
