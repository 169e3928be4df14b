"""Formats of everything that crosses a process border: frames, deltas, Kafka values, cursors, money."""
