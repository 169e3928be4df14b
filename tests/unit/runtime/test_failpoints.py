"""A failpoint kills its process at the chosen pass, and only there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from livebalance.runtime.process import failpoints

PASSES = (
    "from livebalance.runtime.process import failpoints\n"
    "for n in range(5): print(n, flush=True); failpoints.at('here')"
)


def run(setting: str | None) -> tuple[int, str]:
    """Returns the exit code of a process that passes `here` five times, and the passes that it began."""
    environment = {name: value for name, value in os.environ.items() if name != failpoints.VARIABLE}
    if setting is not None:
        environment[failpoints.VARIABLE] = setting
    process = subprocess.run(
        [sys.executable, "-c", PASSES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return process.returncode, process.stdout.replace("\n", "")


@pytest.mark.parametrize("setting", [None, "", "elsewhere:1", "here:6", "@/nowhere/at/all"])
def test_process_without_a_matching_setting_survives(setting: str | None) -> None:
    assert run(setting) == (0, "01234")


@pytest.mark.parametrize(("setting", "began"), [("here", "0"), ("here:1", "0"), ("here:3", "012")])
def test_process_is_killed_at_the_chosen_pass(setting: str, began: str) -> None:
    assert run(setting) == (-signal.SIGKILL, began)


def test_process_reads_the_failpoint_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "failpoint"
    file.write_text("here:2")
    assert run(f"@{file}") == (-signal.SIGKILL, "01")
