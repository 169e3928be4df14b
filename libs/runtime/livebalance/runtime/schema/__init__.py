"""Schema registries, and the codec for values of the two topics."""
