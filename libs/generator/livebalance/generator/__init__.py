"""Random transfers, and the rate at which they are due."""
