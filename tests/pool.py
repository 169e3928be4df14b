"""The pool of docs/reporting.md, before a Postgres of this machine that trusts everyone."""

import os
import pwd
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from livebalance.stack.paths import PROJECT, free_port
from livebalance.stack.process.process import ChildProcess

PAGE = PROJECT / "docs" / "reporting.md"


def found() -> str:
    """Path of `pgbouncer`. Without it the test is left out, and says so; in CI it fails."""
    path = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "left out: no pgbouncer here (Debian: the package pgbouncer)"
        )
    return path


class Pool:
    """Before the server at `behind`, a URL without a database, from `start` to `stop`."""

    def __init__(self, directory: Path, behind: str, *users: str) -> None:
        self.port, there = free_port(), urlsplit(behind)
        [text] = re.findall(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
        told = {
            "livebalance = .*": f"* = host={there.hostname} port={there.port}",
            "listen_addr = .*": "listen_addr = 127.0.0.1\nunix_socket_dir =",
            "listen_port = .*": f"listen_port = {self.port}",
            "auth_type = .*": "auth_type = trust",
            "auth_file = .*": f"auth_file = {directory}/users.txt",
        }
        for line, here in told.items():
            text, times = re.subn(f"^{line}$", here, text, flags=re.MULTILINE)
            assert times == 1, line
        (directory / "users.txt").write_text("".join(f'"{user}" ""\n' for user in users))
        (directory / "pgbouncer.ini").write_text(text)
        _open(directory)
        root = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses root
        command = [found(), *root, str(directory / "pgbouncer.ini")]
        self.child = ChildProcess("pgbouncer", command, directory / "pgbouncer.log")

    def address(self, user: str) -> str:
        """A URL without a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}"

    def start(self) -> None:
        self.child.start()
        self.child.wait_for("process up", 20)

    def stop(self) -> None:
        self.child.kill()


def _open(directory: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (directory, *directory.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
