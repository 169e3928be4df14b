"""The secret that signs the demo's tokens. It is kept, so that pages stay signed in across restarts.

`python -m livebalance.stack.secret DIRECTORY` creates it there, for LIVEBALANCE_SECRETS_DIRECTORY.
"""

import os
import secrets
import sys
from pathlib import Path

from livebalance.stack.paths import StatePaths

_NAME = "livebalance_demo_secret"  # the name of the setting in lower case


def demo_secret(paths: StatePaths) -> str:
    """Returns the secret. The first call creates it, readable by its owner only."""
    paths.state.mkdir(parents=True, exist_ok=True)
    path = paths.state / _NAME
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(file, "w") as new:
        new.write(secrets.token_urlsafe(32))
    return path.read_text()


def existing_demo_secret(paths: StatePaths) -> str | None:
    """Returns the secret, or None if there is none yet. It creates nothing."""
    try:
        return (paths.state / _NAME).read_text()
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    demo_secret(StatePaths(Path(sys.argv[1]), Path(sys.argv[1])))
