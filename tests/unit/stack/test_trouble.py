"""What a user reads when something outside the program is wrong."""

import errno
from pathlib import Path

import pytest

from livebalance.stack.errors import from_log, from_os

_LOG = Path("kafka.log")


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("java.io.IOException: No space left on device", "the disk is full"),
        ('FATAL:  could not write to file "x": No space left on device', "the disk is full"),
        ("HINT:  Check free disk space.", "the disk is full"),
        ("java.net.BindException: Address already in use", "a port it was given is taken"),
        (
            "Error: listening on tcp 127.0.0.1:8080: bind: address already in use",
            "a port it was given is taken",
        ),
        ("Failed to acquire lock on file .lock in /x/kafka/log", "in use by another process"),
        ("FATAL:  database files are incompatible with server", "make reset"),
        ("npm error network request to http://x/y.tgz failed, reason: read ECONNRESET", "check the network"),
        ("npm error code EAI_AGAIN", "what has arrived is kept"),
    ],
)
def test_a_known_cause_says_what_to_do(line: str, advice: str) -> None:
    trouble = str(from_log("kafka", "stopped with 1", ["before", line, "\tat java.base/x", "after"], _LOG))
    assert advice in trouble
    assert "\n" not in trouble


def test_an_unknown_cause_is_the_last_line_that_names_an_error() -> None:
    lines = ["12:00 ERROR one", "12:01 ERROR two: it is so", "\tat java.base/x"]
    assert "two: it is so (kafka.log)" in str(from_log("kafka", "stopped with 1", lines, _LOG))


def test_silence_is_said() -> None:
    assert (
        str(from_log("kafka", "stopped with 1", [], _LOG))
        == "kafka stopped with 1: it wrote nothing (kafka.log)"
    )


def test_a_full_disk_of_our_own_writes() -> None:
    assert "the disk is full" in str(from_os(OSError(errno.ENOSPC, "No space left on device", "/x/y")))
    assert "/x/y" in str(from_os(PermissionError(errno.EACCES, "Permission denied", "/x/y")))
