"""`python -m livebalance.runtime.process.ready`: exit code 0 if the service that runs here is ready, else 1.

For who looks from inside a container. It runs every few seconds, so it imports little.
"""

import os
import socket
import sys

PATH = "/readyz"
_SECONDS = 2.0  # for one answer


def is_ready(port: int) -> bool:
    """Whether the server on a port of loopback answers 200 now."""
    try:
        with socket.create_connection(("127.0.0.1", port), _SECONDS) as connection:
            connection.sendall(
                f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            with connection.makefile("rb") as answer:
                return b" 200 " in answer.readline(100)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not is_ready(int(os.environ["LIVEBALANCE_HTTP_PORT"])))
