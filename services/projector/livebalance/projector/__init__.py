"""Kafka in; Postgres rows and Redis deltas out."""
