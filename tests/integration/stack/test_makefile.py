"""The Makefile gives pip's index to uv."""

import os
import subprocess

import pytest

from livebalance.stack.paths import PROJECT

_PRINT = "environment: ; @$(subst $(BIN)/uv,env,$(UV))"  # prints the environment of uv


def _index_of_uv(**environment: str) -> str:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    result = subprocess.run(
        ["make", "--no-print-directory", f"--eval={_PRINT}", "environment"],
        cwd=PROJECT,
        env={**others, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)["UV_DEFAULT_INDEX"]


@pytest.mark.parametrize(
    ("environment", "index"),
    [
        ({"PIP_INDEX_URL": "http://pip/simple"}, "http://pip/simple"),
        ({"PIP_INDEX_URL": "http://pip/simple", "UV_INDEX_URL": "http://old/simple"}, "http://old/simple"),
        ({"PIP_INDEX_URL": "http://pip/simple", "UV_DEFAULT_INDEX": "http://uv/simple"}, "http://uv/simple"),
    ],
)
def test_uv_uses_the_index_of_pip(environment: dict[str, str], index: str) -> None:
    assert _index_of_uv(**environment) == index
