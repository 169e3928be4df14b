"""The clocks of a gateway."""

import time
from functools import partial

from livebalance.wire.timestamp import Millis

# Returns the seconds since the machine booted: timeouts, pauses and the ends of rights are measured with it.
# Unlike `time.monotonic`, it counts the seconds in which the machine was suspended: a token must not outlive
# them, and data must not be sent after them unchecked.
uptime = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


def wall() -> Millis:
    """Returns the time of day, which may jump."""
    return Millis(time.time_ns() // 1_000_000)
