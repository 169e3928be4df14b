"""Commands that check the two topics."""
