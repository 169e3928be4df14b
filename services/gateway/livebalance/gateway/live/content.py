"""What a channel relayed from Redis, and Postgres has not confirmed yet.

The revision of a delta proves nothing about its content. So an audit compares a digest of the transfers and
the balance that were relayed with a digest of the rows (docs/guarantees.md#audit).
"""

from hashlib import sha256

from livebalance.readmodel.content import canonical_balance, canonical_transfers
from livebalance.readmodel.gateway_reads import ContentDigest
from livebalance.wire.identity import Revision


class RelayedContent:
    """The content of an account's frames since a revision up to which Postgres has confirmed everything."""

    __slots__ = ("_hash", "_later", "_text", "since")

    def __init__(self, since: Revision) -> None:
        self.since = since
        self._hash = sha256()
        self._text = b""  # of the newest frame
        self._later: RelayedContent | None = None  # since the last audit began

    def add(self, text: bytes) -> None:
        """Adds the text of the next delta frame."""
        if transfers := canonical_transfers(text):
            self._hash.update(transfers)
        self._text = text
        if self._later:
            self._later.add(text)

    def begin_audit(self, revision: Revision) -> ContentDigest:
        """Returns the digest of what was relayed until now, when the channel is at `revision`."""
        self._later = RelayedContent(revision)
        balance = sha256(canonical_balance(self._text)).digest()
        return ContentDigest(self.since, self._hash.digest(), balance)

    @property
    def is_audited(self) -> bool:
        """Whether an audit has begun with this content."""
        return self._later is not None

    def unconfirmed(self) -> "RelayedContent | None":
        """Returns what remains to be confirmed, after an audit has confirmed what it began with."""
        later = self._later
        return self if later is None else later if later._text else None
