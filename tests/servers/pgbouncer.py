"""PgBouncer with the configuration of docs/reporting.md, in front of a Postgres without passwords."""

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


def pgbouncer_path() -> str:
    """Returns the path of `pgbouncer`. Without it the test is skipped; in CI it fails."""
    path = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "skipped: pgbouncer is not installed (Debian: the package pgbouncer)"
        )
    return path


class PgBouncer:
    """A pool in front of the server at `upstream`, a URL without a database."""

    def __init__(self, directory: Path, upstream: str, *users: str) -> None:
        self.port, server = free_port(), urlsplit(upstream)
        [text] = re.findall(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
        replacements = {
            "livebalance = .*": f"* = host={server.hostname} port={server.port}",
            "listen_addr = .*": "listen_addr = 127.0.0.1\nunix_socket_dir =",
            "listen_port = .*": f"listen_port = {self.port}",
            "auth_type = .*": "auth_type = trust",
            "auth_file = .*": f"auth_file = {directory}/users.txt",
        }
        for pattern, line in replacements.items():
            text, times = re.subn(f"^{pattern}$", line, text, flags=re.MULTILINE)
            assert times == 1, pattern
        (directory / "users.txt").write_text("".join(f'"{user}" ""\n' for user in users))
        (directory / "pgbouncer.ini").write_text(text)
        _chown_to_nobody(directory)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # PgBouncer refuses root
        command = [pgbouncer_path(), *user, str(directory / "pgbouncer.ini")]
        self.child = ChildProcess("pgbouncer", command, directory / "pgbouncer.log")

    def url(self, user: str) -> str:
        """Returns a URL without a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}"

    def start(self) -> None:
        self.child.start()
        self.child.wait_for("process up", 30)

    def stop(self) -> None:
        self.child.kill()


def _chown_to_nobody(directory: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (directory, *directory.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
