"""What a channel relayed from Redis, and Postgres has not confirmed yet.

The revision of a delta proves nothing about its content. So an audit compares a digest of the transfers and
the balance that were relayed with a digest of the rows (docs/guarantees.md#audit).
"""

from hashlib import sha256

from livebalance.gateway.live.outbox import Frame
from livebalance.readmodel.content import canonical_balance, canonical_transfers
from livebalance.readmodel.gateway_reads import ContentDigest, SkippedRange
from livebalance.wire.identity import AccountId, Revision

MAX_WAITING_FRAMES = 8  # that are not in the digest yet: they are shared with the history, unless it is full


class RelayedContent:
    """The content of an account's frames since a revision up to which Postgres has confirmed everything."""

    __slots__ = ("_account", "_hash", "_later", "_skipped", "_text", "_waiting", "is_empty", "since")

    def __init__(self, account: AccountId, since: Revision) -> None:
        self.since = since
        self.is_empty = True
        self._account = account
        self._skipped: tuple[SkippedRange, ...] = ()
        self._hash = sha256()
        self._waiting: list[Frame] = []
        self._text = b""  # of the newest frame; empty after a snapshot
        self._later: RelayedContent | None = None  # since the last audit began

    def add(self, frame: Frame) -> None:
        """Adds the next delta frame. Some wait: to digest several at once takes half the time of each."""
        self._waiting.append(frame)
        if len(self._waiting) == MAX_WAITING_FRAMES:
            self._digest()
        self._text, self.is_empty = frame.text, False
        if self._later:
            self._later.add(frame)

    def _digest(self) -> None:
        self._hash.update(canonical_transfers(self._account, self._waiting))
        self._waiting.clear()

    def skip(self, skipped: SkippedRange) -> None:
        """Leaves out revisions that a snapshot went past. The newest balance is that of the snapshot."""
        self._skipped += (skipped,)
        self._text = b""
        if self._later:
            self._later.skip(skipped)

    def begin_audit(self, revision: Revision) -> ContentDigest:
        """Returns the digest of what was relayed until now, when the channel is at `revision`."""
        self._digest()
        self._later = RelayedContent(self._account, revision)
        balance = sha256(canonical_balance(self._text)).digest() if self._text else None
        return ContentDigest(self.since, self._hash.digest(), balance, self._skipped)

    @property
    def is_audited(self) -> bool:
        """Whether an audit has begun with this content."""
        return self._later is not None

    def unconfirmed(self) -> "RelayedContent | None":
        """Returns what remains to be confirmed, after an audit has confirmed what it began with."""
        later = self._later
        return self if later is None else None if later.is_empty else later
