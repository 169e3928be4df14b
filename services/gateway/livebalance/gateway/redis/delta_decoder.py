"""Decodes deltas by the positions in their headers, and parses the frames of a sample (decision 37)."""

from livebalance.wire.delta import Delta, decode_delta, read_header
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId

SAMPLE_EVERY = 64  # deltas
SUSPICIOUS = 1024  # deltas after an invalid message, which are all parsed


class DeltaDecoder:
    """Decodes the deltas of a gateway. An audit finds what a header conceals (docs/guarantees.md#audit)."""

    __slots__ = ("_suspicious", "_until_sample")

    def __init__(self) -> None:
        self._until_sample = SAMPLE_EVERY  # deltas
        self._suspicious = 0  # deltas that are still parsed because an earlier delta was invalid

    def decode(self, account: AccountId, message: bytes) -> Delta:
        """Returns the delta in a message of the Redis channel of `account`.

        Raises:
            DecodeError: The message is not a delta of this account. Only a frame that is parsed raises it.
        """
        self._until_sample -= 1
        if self._until_sample and not self._suspicious and (delta := read_header(account, message)):
            return delta
        return self._parse(account, message)

    def _parse(self, account: AccountId, message: bytes) -> Delta:
        self._until_sample = self._until_sample or SAMPLE_EVERY
        self._suspicious = max(0, self._suspicious - 1)
        try:
            return decode_delta(account, message)
        except DecodeError:
            self._suspicious = SUSPICIOUS
            raise
