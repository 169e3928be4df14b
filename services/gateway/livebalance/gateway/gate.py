"""Whether clients may come here: not while what they need is away, nor once this gateway is going."""

AUDITED_WITHIN = 15.0  # seconds


class Gate:
    """`leaving`: nobody should be sent here any more; `draining`: nor is let in."""

    def __init__(self) -> None:
        self.leaving = self.draining = False
        self.redis_here = False
        self.audited_at: float | None = None

    def not_ready(self, keys: bool, now: float) -> str | None:
        """Why no new client should come here; None: one may. `keys`: tokens can be checked."""
        return "draining" if self.leaving else self._unable(keys, now)

    def closed(self, keys: bool, now: float) -> str | None:
        """Why a client that is here already is not let in."""
        return "draining" if self.draining else self._unable(keys, now)

    def _unable(self, keys: bool, now: float) -> str | None:
        if not self.redis_here:
            return "redis is away"
        if not keys:
            return "no keys or revocations yet"
        if self.audited_at is None or self.audited_at < now - AUDITED_WITHIN:
            return "no audit of late"
        return None
