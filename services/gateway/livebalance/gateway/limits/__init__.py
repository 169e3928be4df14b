"""Pure limits: how many connections, and how fast."""
