"""The operator's command line. Each error is a single line that says what to do."""
