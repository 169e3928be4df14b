"""Kafka in: one consumer of both topics."""
