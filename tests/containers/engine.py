"""The Docker engine that answers on this machine, as its command line reaches it."""

import re
import subprocess
from collections.abc import Mapping
from os import environ

from livebalance.stack.paths import PROJECT

PULL_SECONDS = 600.0


def docker(*words: str, within: float = 60.0, environment: Mapping[str, str] | None = None) -> str:
    """Returns what `docker` prints. Fails the test, with the end of all output, if the command fails.

    `within` is a timeout in seconds; `environment` is added to that of the test.
    """
    result = _run(words, within, environment)
    output = (result.stdout + result.stderr)[-3000:]
    assert result.returncode == 0, f"docker {' '.join(words)}: {output}"
    return result.stdout


def succeeds(*words: str, within: float = 60.0) -> bool:
    """Tells whether a command of `docker` succeeds."""
    try:
        return _run(words, within).returncode == 0
    except FileNotFoundError:
        return False


def _run(
    words: tuple[str, ...], within: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *words],
        cwd=PROJECT,
        env={**environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def base_images() -> set[str]:
    """Returns the names of the images that the Dockerfiles start from."""
    files = [PROJECT / "deploy" / name for name in ("Dockerfile", "Dockerfile.page")]
    return {name for file in files for name in re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)}


def is_available(image: str) -> bool:
    """Tells whether the engine has an image, or can pull it."""
    return succeeds("image", "inspect", image) or succeeds("pull", "--quiet", image, within=PULL_SECONDS)
