"""Commands that act on the projection: epoch, lane, quarantine, revocations."""
