"""Schema registries and the values of the two topics."""
