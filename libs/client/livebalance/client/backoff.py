"""Delays before a client retries."""

from livebalance.wire.close import CloseCode, retry_after_ms

INITIAL_DELAY, MAX_DELAY = 0.5, 20.0  # seconds


def backoff_delay(failures: int, jitter: float) -> float:
    """Returns seconds between 0 and a limit that doubles with each failure ("full jitter").

    Args:
        failures: Failed attempts since the last success.
        jitter: A random number in [0, 1).
    """
    return jitter * min(MAX_DELAY, INITIAL_DELAY * 2.0 ** min(failures, 16))


def delay_after_close(code: int, reason: str, failures: int, jitter: float) -> float:
    """Returns seconds until the next connection.

    After a GOODBYE, the wait in `reason` is a maximum: clients that are closed together spread their
    reconnects over it. After other codes it is a minimum (docs/protocol.md#close-codes).
    """
    wait_ms = retry_after_ms(reason)
    if wait_ms is None:
        return backoff_delay(failures, jitter)
    if code == CloseCode.GOODBYE:
        return jitter * wait_ms / 1000
    return wait_ms / 1000 + backoff_delay(failures, jitter)
