"""Commands that change the projection or its records: epoch, lane, quarantine, revocations."""
