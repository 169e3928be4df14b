"""How long a client waits before it tries again."""

from livebalance.wire.close import CloseCode, retry_after_ms

FIRST, LONGEST = 0.5, 20.0  # seconds


def pause(failures: int, chance: float) -> float:
    """Seconds, full jitter: anywhere below a limit that doubles with each failure. `chance` is in [0, 1)."""
    return chance * min(LONGEST, FIRST * 2.0 ** min(failures, 16))


def after_close(code: int, reason: str, failures: int, chance: float) -> float:
    """Seconds until the next connection: a goodbye names the time to spread over, others a least wait."""
    asked = retry_after_ms(reason)
    if asked is None:
        return pause(failures, chance)
    if code == CloseCode.GOODBYE:
        return chance * asked / 1000
    return asked / 1000 + pause(failures, chance)
