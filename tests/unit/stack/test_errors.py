"""Error messages for causes outside the program."""

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
        ("java.net.BindException: Address already in use", "its port is taken"),
        (
            "Error: listening on tcp 127.0.0.1:8080: bind: address already in use",
            "its port is taken",
        ),
        ("Failed to acquire lock on file .lock in /x/kafka/log", "another process uses its data"),
        ("FATAL:  database files are incompatible with server", "make reset"),
        ("npm error network request to http://x/y.tgz failed, reason: read ECONNRESET", "check the network"),
        ("npm error code EAI_AGAIN", "finished downloads are kept"),
    ],
)
def test_known_cause_gives_advice(line: str, advice: str) -> None:
    message = str(from_log("kafka", "stopped with 1", ["before", line, "\tat java.base/x", "after"], _LOG))
    assert advice in message
    assert "\n" not in message


def test_unknown_cause_is_the_last_line_with_an_error() -> None:
    lines = ["12:00 ERROR first", "12:01 ERROR second: details", "\tat java.base/x"]
    assert "second: details (kafka.log)" in str(from_log("kafka", "stopped with 1", lines, _LOG))


def test_empty_log_is_reported() -> None:
    message = str(from_log("kafka", "stopped with 1", [], _LOG))
    assert message == "kafka stopped with 1: its log is empty (kafka.log)"


def test_os_errors_name_the_cause_and_the_path() -> None:
    assert "the disk is full" in str(from_os(OSError(errno.ENOSPC, "No space left on device", "/x/y")))
    assert "/x/y" in str(from_os(PermissionError(errno.EACCES, "Permission denied", "/x/y")))
