"""Commands that look at the two topics."""
