"""Kafka in: the consumer of both topics."""
