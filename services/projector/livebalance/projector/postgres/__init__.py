"""Postgres out: claims lanes and writes batches, fenced."""
