"""Sets of accounts: one subscription to all accounts with a prefix, or of a client (decision 36)."""
