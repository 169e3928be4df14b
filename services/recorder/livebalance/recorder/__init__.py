"""Recorder: computes account balances from transfers, in Kafka transactions."""
