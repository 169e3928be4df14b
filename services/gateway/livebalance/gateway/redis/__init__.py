"""Subscribes to Redis: chooses the node of each channel, and decodes the messages."""
