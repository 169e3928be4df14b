"""Key ids that tokens named and no known key has: each is looked for once in the published keys. Pure."""

RECHECK_SECONDS = 60.0  # after which an id that was not published is looked for again
MAX_KEY_IDS = 1000  # remembered; a client may invent any number of them


class UnknownKeys:
    """Decides whether a token with an unknown key may still be valid. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[
            int, float
        ] = {}  # by the hash of the id, which may be long; in the order of these times
        self._read_began: float | None = None

    def on_read(self, began: float) -> None:
        """Called when the published keys have been read. The read began at this time."""
        self._read_began = began

    def must_read(self, key_id: object, now: float) -> bool:
        """Returns whether the keys must be read before it is known that there is no such key.

        One read decides for all ids that were named before it began.
        """
        key, began = hash(key_id), self._read_began
        since = self._since.get(key)
        if began is not None and since is not None and since <= began and now < began + RECHECK_SECONDS:
            return False
        if since is None or (began is not None and since <= began):
            self._since.pop(key, None)
            self._since[key] = now
            if len(self._since) > MAX_KEY_IDS:
                del self._since[next(iter(self._since))]
        return True
