"""Starts, probes and stops a service's process."""
