"""Checks gateways and clients of other authors against docs/protocol.md."""
