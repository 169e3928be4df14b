"""Gateway: serves account balances and transfers to browsers, as snapshots and live deltas."""

VERSION = "0.1.0"
