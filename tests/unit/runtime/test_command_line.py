"""A service prints help instead of starting, and rejects arguments that it does not know."""

import subprocess
import sys


def run(program: str, argument: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"livebalance.{program}", argument]
    return subprocess.run(command, env={}, capture_output=True, text=True, timeout=120, check=False)


def test_help_lists_the_settings_and_their_defaults() -> None:
    result = run("projector", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "python -m livebalance.projector" in result.stdout
    assert "  LIVEBALANCE_KAFKA=127.0.0.1:9092\n      Brokers to connect to first" in result.stdout


def test_unknown_argument_is_rejected() -> None:
    result = run("recorder", "--unknown")
    assert result.returncode == 2
    assert "unrecognized arguments: --unknown" in result.stderr
