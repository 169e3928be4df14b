"""Postgres in: batched reads of accounts, and the audit."""
