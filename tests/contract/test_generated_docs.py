"""The generated pages of docs/ are up to date; `make docs` generates them."""

import subprocess
import sys

from livebalance.runtime.config.descriptions import describe_settings
from livebalance.runtime.config.environment import service_settings
from scripts.docs import PROJECT


def test_generated_pages_match_the_code() -> None:
    # In a process of its own: other tests count what this process then shows as values of labels.
    command = [sys.executable, "-m", "scripts.docs", "--check"]
    process = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stdout.split(), process.stderr) == (0, [], ""), "run `make docs`"


def test_every_setting_has_a_description() -> None:
    for kind in service_settings().values():
        assert set(describe_settings(kind)) == set(kind.model_fields)
