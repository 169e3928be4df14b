"""Signed Redis messages: a message of any other format behind a keyed digest of its channel and its bytes.

The key belongs to the deployment. A message that is copied from another channel has no valid signature there,
and epoch and revisions are part of the message, so that a repeated message changes nothing (decision 27).
"""

from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import Literal

from livebalance.wire.errors import DecodeError

SIGNED_FORMAT = 3
MIN_SECRET_LENGTH = 32
_MAC_BYTES = 16
_HEAD = bytes([SIGNED_FORMAT])
_HEAD_BYTES = len(_HEAD) + _MAC_BYTES


class SignatureError(DecodeError):
    """A message is `unsigned`, or `forged`: its signature is not that of a key for its channel."""

    def __init__(self, reason: Literal["unsigned", "forged"]) -> None:
        super().__init__(f"the message is {reason}")
        self.reason = reason


class SigningKey:
    """Signs messages, and computes the signatures that they must have."""

    def __init__(self, secret: str) -> None:
        key = blake2b(secret.encode(), person=b"livebalance").digest()
        self._keyed = blake2b(key=key, digest_size=_MAC_BYTES)  # a copy costs less than to begin with the key

    def sign(self, channel: bytes, message: bytes) -> bytes:
        """Returns the signed message for a channel."""
        return _HEAD + self.signature(channel, message) + message

    def signature(self, channel: bytes, message: bytes) -> bytes:
        """Returns the signature of a message for a channel. No channel's name contains NUL."""
        digest = self._keyed.copy()
        digest.update(channel + b"\0")
        digest.update(message)
        return digest.digest()


def verified_message(keys: Sequence[SigningKey], channel: bytes, message: bytes) -> bytes:
    """Returns the message without its signature. Without keys, every signature is accepted, and none as well.

    Raises:
        SignatureError: There are keys, and none of them has signed the message for this channel.
    """
    if not message.startswith(_HEAD):
        if keys:
            raise SignatureError("unsigned")
        return message
    signature, message = message[1:_HEAD_BYTES], message[_HEAD_BYTES:]
    if keys and not any(compare_digest(key.signature(channel, message), signature) for key in keys):
        raise SignatureError("forged")
    return message
