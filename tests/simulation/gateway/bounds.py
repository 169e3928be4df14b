"""Bounds that a simulation with few frames reaches."""

from livebalance.gateway.live import channel, session
from livebalance.gateway.live.sets import members, set_channel

SMALL_BOUNDS = (
    (channel, "MAX_BUFFERED_BYTES", 1200),
    (channel, "MAX_POSITIONS_PER_READ", 2),
    (session, "MAX_READS", 1),
    (set_channel, "PAGE_MEMBERS", 1),
    (set_channel, "MAX_BUFFERED_ACCOUNTS", 3),
    (members, "MAX_LEFT", 1),
)
