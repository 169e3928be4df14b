"""Metrics, and the code that measures for them."""
