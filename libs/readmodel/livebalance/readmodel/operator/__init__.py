"""Statements of operators: what they change by hand, each recorded in the table `intervention`."""
