"""Snapshots and deltas to every browser."""
