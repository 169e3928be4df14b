"""The operator's command line. Each error is one line that says what to do."""
