"""A named point kills its process as it was told, and nothing else does."""

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


def passed(order: str | None) -> tuple[int, str]:
    """The exit code of a process that passes `here` five times, and the passes it began."""
    environment = {name: value for name, value in os.environ.items() if name != failpoints.VARIABLE}
    if order is not None:
        environment[failpoints.VARIABLE] = order
    done = subprocess.run(
        [sys.executable, "-c", PASSES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stdout.replace("\n", "")


@pytest.mark.parametrize("order", [None, "", "elsewhere:1", "here:6", "@/nowhere/at/all"])
def test_nobody_dies_untold(order: str | None) -> None:
    assert passed(order) == (0, "01234")


@pytest.mark.parametrize(("order", "began"), [("here", "0"), ("here:1", "0"), ("here:3", "012")])
def test_it_dies_at_the_pass_it_is_told(order: str, began: str) -> None:
    assert passed(order) == (-signal.SIGKILL, began)


def test_a_file_tells_it_too(tmp_path: Path) -> None:
    order = tmp_path / "order"
    order.write_text("here:2")
    assert passed(f"@{order}") == (-signal.SIGKILL, "01")
