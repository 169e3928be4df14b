"""The command line of an operator: every trouble is one line, and says what to do."""
