"""Sets of accounts in Postgres (decision 36)."""
