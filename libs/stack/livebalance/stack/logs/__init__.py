"""The logs of all processes as a single log, in the order of time."""
