"""The demo's secret, in the file where services read it."""

import stat
import subprocess
import sys
from pathlib import Path

from livebalance.stack.paths import StatePaths
from livebalance.stack.secret import demo_secret

_PRINT_SECRET = """
from livebalance.gateway.settings import Settings
secret = Settings().demo_secret
print(secret and secret.get_secret_value())
"""


def secret_of_gateway(environment: dict[str, str]) -> str:
    """Returns the secret that a gateway would use."""
    result = subprocess.run(
        [sys.executable, "-c", _PRINT_SECRET],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return result.stdout.strip()


def test_secret_is_created_once_and_read_from_its_file(tmp_path: Path) -> None:
    for _ in range(2):
        command = [sys.executable, "-m", "livebalance.stack.secret", str(tmp_path)]
        subprocess.run(command, check=True, timeout=120)
    [file] = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret_of_gateway({"LIVEBALANCE_SECRETS_DIRECTORY": str(tmp_path)}) == demo_secret(
        StatePaths(tmp_path, tmp_path)
    )
    assert secret_of_gateway({}) == "None"
