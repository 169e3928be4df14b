"""Servers that a test may kill."""

from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers


def disposable_servers(paths: StatePaths, *parts: str) -> Servers:
    """Returns embedded servers that store nothing durably, whatever servers the environment names."""
    return Servers(paths, parts=parts, durable=False, only_embedded=True)
