"""Kafka, Postgres, Redis, the services and a balancer on one machine: for the demo and for tests."""
