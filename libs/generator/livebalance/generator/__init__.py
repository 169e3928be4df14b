"""Random transfers, and the pace at which they are due."""
