"""The secret of a demo, where its services look for it."""

import stat
import subprocess
import sys
from pathlib import Path

from livebalance.stack.paths import StatePaths
from livebalance.stack.secret import demo_secret

_TELL = """
from livebalance.gateway.settings import Settings
secret = Settings().demo_secret
print(secret and secret.get_secret_value())
"""


def told(environment: dict[str, str]) -> str:
    """The secret that a gateway would use."""
    answer = subprocess.run(
        [sys.executable, "-c", _TELL], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return answer.stdout.strip()


def test_it_is_made_once_and_read_from_its_file(tmp_path: Path) -> None:
    for _ in range(2):
        command = [sys.executable, "-m", "livebalance.stack.secret", str(tmp_path)]
        subprocess.run(command, check=True, timeout=60)
    [file] = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert told({"LIVEBALANCE_SECRETS_DIRECTORY": str(tmp_path)}) == demo_secret(
        StatePaths(tmp_path, tmp_path)
    )
    assert told({}) == "None"
