"""A checkpoint is used only if reading on from it is right."""

import pytest

from livebalance.recorder.checkpoint import AccountsCheckpoint, Log, max_age_seconds, unusable_reason
from livebalance.wire.identity import Offset

NOW = 1_000_000.0
MAX_AGE_SECONDS = 3600.0
LOG = Log(first_balance=10, end_of_balances=20, end_of_transfers=7)
GOOD = AccountsCheckpoint(15, NOW - 60, None, Offset(6))


@pytest.mark.parametrize(
    "checkpoint",
    [
        GOOD,
        GOOD._replace(next_offset=10),
        GOOD._replace(next_offset=20),
        GOOD._replace(complete_at=NOW),
        GOOD._replace(complete_at=NOW - MAX_AGE_SECONDS),
    ],
)
def test_checkpoint_within_the_log_is_usable(checkpoint: AccountsCheckpoint) -> None:
    assert unusable_reason(checkpoint, LOG, NOW, MAX_AGE_SECONDS) is None


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        (GOOD._replace(next_offset=9), "9 comes next but the balances have offsets 10 to 20"),
        (GOOD._replace(next_offset=21), "21 comes next but the balances have offsets 10 to 20"),
        (GOOD._replace(complete_at=NOW + 1), "they are -1 s old"),
        (GOOD._replace(complete_at=NOW - MAX_AGE_SECONDS - 1), "they are 3601 s old"),
        (GOOD._replace(greatest=Offset(7)), "they include transfer 7 but transfers end at 7"),
    ],
)
def test_checkpoint_that_may_lack_records_is_unusable(checkpoint: AccountsCheckpoint, reason: str) -> None:
    assert unusable_reason(checkpoint, LOG, NOW, MAX_AGE_SECONDS) == reason


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"delete.retention.ms": "86400000"}, 43_200),
        ({"delete.retention.ms": "864000000"}, 43_200),
        ({"delete.retention.ms": "60000"}, 30),
        ({"delete.retention.ms": "0"}, 0),
        ({}, 0),
    ],
)
def test_saved_accounts_are_used_for_half_of_the_time_that_erasures_are_kept(
    config: dict[str, str], seconds: float
) -> None:
    assert max_age_seconds(config) == seconds
