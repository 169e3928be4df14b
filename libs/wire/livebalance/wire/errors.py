"""The error that decoding raises."""


class DecodeError(ValueError):
    """Bytes or text that do not have the expected format."""
