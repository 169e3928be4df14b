"""Tokens, keys, rights and revocations."""
