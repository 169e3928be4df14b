"""Redis out: publishes deltas and the progress of lanes."""
