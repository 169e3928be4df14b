"""The secret that a demo signs tokens with; kept, so that pages stay signed in when it starts again.

`python -m livebalance.stack.secret DIRECTORY` makes it there, where LIVEBALANCE_SECRETS_DIRECTORY finds it.
"""

import os
import secrets
import sys
from pathlib import Path

from livebalance.stack.paths import StatePaths

_NAME = "livebalance_demo_secret"  # as the setting is called


def demo_secret(place: StatePaths) -> str:
    """The one of this place, made the first time; only its owner may read it."""
    place.state.mkdir(parents=True, exist_ok=True)
    path = place.state / _NAME
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(file, "w") as new:
        new.write(secrets.token_urlsafe(32))
    return path.read_text()


if __name__ == "__main__":
    demo_secret(StatePaths(Path(sys.argv[1]), Path(sys.argv[1])))
