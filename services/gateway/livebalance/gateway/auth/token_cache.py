"""Rights of tokens that were verified before: a client that reconnects has the same token. Pure."""

from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

from livebalance.gateway.auth.rights import LEEWAY, Rights
from livebalance.wire.timestamp import Millis

MAX_CHARACTERS = 16 * 1024 * 1024  # of all tokens that are remembered; rights take about as much memory


class _Verified(NamedTuple):
    rights: Rights
    generation: int  # of the keys that verified the token
    characters: int


class TokenCache:
    """Remembers the rights of valid tokens by their digest, those of the latest tokens within a bound.

    Revocations are not applied here: the caller compares the rights with them each time.
    """

    def __init__(self, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_characters = max_characters
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()  # the latest used is last
        self._characters = 0

    def get(self, token: str, generation: int, wall: Millis) -> Rights | None:
        """Returns the rights of a token that keys of this generation verified; None: it must be verified."""
        digest = _digest(token)
        if (verified := self._verified.get(digest)) is None:
            return None
        if verified.generation != generation or verified.rights.expires + LEEWAY * 1000 <= wall:
            self._remove(digest)
            return None
        self._verified.move_to_end(digest)
        return verified.rights

    def put(self, token: str, rights: Rights, generation: int) -> None:
        """Remembers the rights of a token that keys of this generation have verified."""
        digest = _digest(token)
        self._remove(digest)
        self._verified[digest] = _Verified(rights, generation, len(token))
        self._characters += len(token)
        while self._characters > self._max_characters:
            self._remove(next(iter(self._verified)))

    def _remove(self, digest: bytes) -> None:
        if verified := self._verified.pop(digest, None):
            self._characters -= verified.characters


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
