"""Snapshots and deltas to every browser."""

VERSION = "0.1.0"
