"""Kafka, Postgres, Redis and the balancer, embedded or in containers."""
