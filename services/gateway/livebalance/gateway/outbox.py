"""What a client still has to be sent: ready frames in order, bounded in bytes.

While the client's transport takes bytes, all that waits goes out at the end of each batch. Once it does not,
data over the bound is forgotten and remembered as positions: Postgres has the rest.
"""

from typing import NamedTuple

from livebalance.wire.identity import AccountId, Position


class Parcel(NamedTuple):
    """A ready frame of one account, shared by all who are sent it."""

    account: AccountId
    before: Position | None  # what its client has until it gets this; None: nothing yet, or no matter what
    after: Position
    frame: bytes
    last: bool = False  # nothing of this account follows: it was erased


def ready(text: bytes) -> bytes:
    """The whole WebSocket text frame of `text`, as a server sends it (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + text
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text


class Outbox:
    __slots__ = ("_beat", "_frames", "_limit", "_size", "words", "writable")

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of data that may wait while the transport takes none."""
        self._limit = limit
        self._frames: list[Parcel | bytes] = []  # bytes: a frame that belongs to no account
        self._size = 0
        self._beat = b""
        self.words = 0  # how many frames wait that are not data
        self.writable = True

    @property
    def empty(self) -> bool:
        """Everything the client was to be sent is with its transport."""
        return not self._frames

    @property
    def size(self) -> int:
        """Bytes of data that wait."""
        return self._size

    def put(self, parcel: Parcel) -> bool:
        """False: there is no room, and the parcel was not kept; `forget_all` must follow."""
        if not self.writable and self._size + len(parcel.frame) > self._limit:
            return False
        self._frames.append(parcel)
        self._size += len(parcel.frame)
        return True

    def say(self, frame: bytes) -> None:
        """A frame that is no data; kept in order, and never forgotten."""
        self._frames.append(frame)
        self.words += 1

    def beat(self, frame: bytes) -> None:
        """A heartbeat; only the newest is kept."""
        self._beat = frame

    def forget_all(self) -> dict[AccountId, Position | None]:
        """Forgets all data. For each account that had any: the position its client was left at."""
        left: dict[AccountId, Position | None] = {}
        for one in self._frames:
            if isinstance(one, Parcel):
                left.setdefault(one.account, one.before)
        self._frames = [one for one in self._frames if isinstance(one, bytes)]
        self._size = 0
        return left

    def forget(self, account: AccountId) -> Parcel | None:
        """Forgets the data of one account; the first parcel of it says where its client was left."""
        found = [one for one in self._frames if isinstance(one, Parcel) and one.account == account]
        if not found:
            return None
        self._frames = [one for one in self._frames if isinstance(one, bytes) or one.account != account]
        self._size -= sum(len(one.frame) for one in found)
        return found[0]

    def take(self) -> bytes:
        """Everything that waits, to be written now."""
        frames = [one if isinstance(one, bytes) else one.frame for one in self._frames]
        frames.append(self._beat)
        self._frames, self._size, self.words, self._beat = [], 0, 0, b""
        return b"".join(frames)
