"""The command that exports balances and transfers."""
