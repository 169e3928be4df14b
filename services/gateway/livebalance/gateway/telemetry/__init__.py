"""Metrics, and what feeds them."""
