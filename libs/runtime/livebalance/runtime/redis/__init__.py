"""Redis addresses, cluster slots and commands."""
