"""Statements that compare the topic of transfers with its rows, and store what differs."""
