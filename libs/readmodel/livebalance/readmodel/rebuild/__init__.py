"""What `livebalance rebuild` reads and writes: the projection, and its shadow (decision 24)."""
