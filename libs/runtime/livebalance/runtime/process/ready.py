"""Exits with 0 if the service on this machine is ready, else with 1.

The health check of containers runs `python -m livebalance.runtime.process.ready` every few seconds, so the
module imports little.
"""

import os
import socket
import sys

PATH = "/readyz"
_TIMEOUT_SECONDS = 2.0


def is_ready(port: int) -> bool:
    """Returns whether /readyz on this port of 127.0.0.1 answers 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS) as connection:
            connection.sendall(
                f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            with connection.makefile("rb") as response:
                return b" 200 " in response.readline(100)
    except OSError:
        return False


if __name__ == "__main__":
    # Only a gateway has two ports.
    port = os.environ.get("LIVEBALANCE_OPERATIONS_PORT") or os.environ["LIVEBALANCE_HTTP_PORT"]
    sys.exit(not is_ready(int(port)))
