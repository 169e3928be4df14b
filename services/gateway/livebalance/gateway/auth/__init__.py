"""Verifies tokens and answers what a client may see."""
