"""The clock that timeouts, pauses and the ends of rights are measured with."""

import time
from functools import partial

# Returns the seconds since the machine booted. Unlike `time.monotonic`, it counts the seconds in which the
# machine was suspended: a token must not outlive them, and data must not be sent after them unchecked.
uptime = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
