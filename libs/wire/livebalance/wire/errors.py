"""The one error of decoding."""


class DecodeError(ValueError):
    """These bytes are not what they should be. The only exception that decoding raises."""
