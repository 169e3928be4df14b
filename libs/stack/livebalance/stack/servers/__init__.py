"""Kafka, Postgres, Redis and the balancer."""
