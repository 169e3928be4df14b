"""Reads Postgres: accounts in batches, and the audit."""
