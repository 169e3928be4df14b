"""The Makefile: behind an index mirror, one configuration is enough."""

import os
import subprocess

import pytest

from livebalance.stack.paths import PROJECT

_TELL = "told: ; @$(subst $(BIN)/uv,env,$(UV))"  # the environment that uv gets


def _index_of_uv(**told: str) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    answer = subprocess.run(
        ["make", "--no-print-directory", f"--eval={_TELL}", "told"],
        cwd=PROJECT,
        env={**ours, **told},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)["UV_DEFAULT_INDEX"]


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ({"PIP_INDEX_URL": "http://pip/simple"}, "http://pip/simple"),
        ({"PIP_INDEX_URL": "http://pip/simple", "UV_INDEX_URL": "http://old/simple"}, "http://old/simple"),
        ({"PIP_INDEX_URL": "http://pip/simple", "UV_DEFAULT_INDEX": "http://uv/simple"}, "http://uv/simple"),
    ],
)
def test_uv_asks_the_index_that_pip_asks(told: dict[str, str], asked: str) -> None:
    assert _index_of_uv(**told) == asked
