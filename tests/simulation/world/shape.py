"""The size of a world."""

from typing import NamedTuple


class Shape(NamedTuple):
    """How many of each there are. `opened` accounts are opened by the feed, the others by the recorder."""

    seed: int = 1
    lanes: int = 2
    accounts: int = 3
    opened: int = 2
    transfers: int = 6
    recorders: int = 1
    projectors: int = 1
    gateways: int = 1
    clients: int = 1
    feed_pause: float = 0.05  # seconds between two pairs of transfers
