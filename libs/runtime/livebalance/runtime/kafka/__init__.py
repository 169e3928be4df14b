"""Helpers for the Kafka clients of all services."""
