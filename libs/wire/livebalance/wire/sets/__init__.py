"""Sets of accounts: what projectors publish for them, and deltas that become a single delta (decision 36)."""
