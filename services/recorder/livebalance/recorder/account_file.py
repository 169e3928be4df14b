"""A file of SQLite that keeps a partition's accounts between claims. Everything in it is in Kafka too."""

import asyncio
import contextlib
import fcntl
import sqlite3
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple, ParamSpec, TypeVar

import msgspec

from livebalance.recorder.accounts import Changes
from livebalance.recorder.checkpoint import AccountsCheckpoint
from livebalance.recorder.ledger import LedgerAccount
from livebalance.runtime import logs
from livebalance.runtime.process import failpoints
from livebalance.wire.identity import AccountId

P = ParamSpec("P")
R = TypeVar("R")
Stored = dict[AccountId, LedgerAccount]

_FORMAT = 1  # of the rows; a file of another format is not read
_FILES = 16  # per partition at most: one is in use by each process that owns or has owned the partition
_CHUNK = 1_000  # accounts of one statement, so that reads do not wait long for writes
_CACHE_KIB = 4_000

# Each statement takes all its accounts as one JSON text: a call per account would hand the interpreter's
# lock over and back each time.
_TABLES = """
create table if not exists account (id text primary key, content text not null) without rowid;
create table if not exists checkpoint (origin text not null, content text not null)
"""
_READ = """
select '{' || coalesce(group_concat(json_quote(id) || ':' || content), '') || '}' from account
 where id in (select value from json_each(?))
"""
_STORE = "insert or replace into account select key, value from json_each(?) where type <> 'null'"
_DELETE = "delete from account where id in (select key from json_each(?) where type = 'null')"

_log = logs.get("recorder")


class _Open(NamedTuple):
    """An open file, with the lock that no other process holds."""

    lock: IO[bytes]
    path: Path
    connection: sqlite3.Connection


class AccountFile:
    """Accounts and their checkpoint. A crash at any moment leaves those of the last complete `write`.

    Every method may raise errors of SQLite. After such an error `close` deletes the file, and the next claim
    restores the accounts from Kafka. All statements run in one thread, in the order of the calls.

    Args:
        directory: The directory of the file. Several processes may use it.
        name: Name of the file, without its ending.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._thread = ThreadPoolExecutor(1, "account-file")
        self._file: _Open | None = None
        self._origin = ""
        self._writing: asyncio.Task[None] | None = None
        self._damaged = False

    async def open(self, origin: str) -> AccountsCheckpoint | None:
        """Opens a file that no other process has open, and returns its checkpoint.

        Args:
            origin: Names what the accounts were made from.

        Returns:
            The checkpoint; None if the file is new, or has accounts of another origin.
        """
        self._origin = f"{_FORMAT} {origin}"
        return await self._run(self._open)

    async def clear(self) -> None:
        """Deletes all accounts and the checkpoint."""
        await self._run(self._clear)

    async def read(self, accounts: Collection[AccountId]) -> Stored:
        """Returns those of the accounts that are stored, as of the last call of `write`."""
        found = await self._run(self._read, msgspec.json.encode(list(accounts)).decode())
        try:
            return msgspec.json.decode(found, type=Stored)
        except msgspec.MsgspecError as error:
            self._damaged = True
            raise sqlite3.DatabaseError(f"a stored account is damaged: {error}") from error

    async def write(self, changes: Changes, checkpoint: AccountsCheckpoint) -> None:
        """Begins to store changes and their checkpoint in one transaction. Waits for the previous `write`.

        Until the next call, `read` may still return these accounts without their changes.
        """
        await self.written()
        self._writing = asyncio.create_task(self._write(changes, checkpoint))

    async def written(self) -> None:
        """Waits for the last `write` to be complete."""
        if self._writing is not None:
            await self._writing

    async def close(self) -> None:
        """Closes the file, without a write that is not complete. May be called in any state."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        with contextlib.suppress(sqlite3.Error, OSError):
            await asyncio.shield(self._run(self._close))
        self._thread.shutdown(wait=False)

    async def _write(self, changes: Changes, checkpoint: AccountsCheckpoint) -> None:
        names = sorted(changes)  # rows of neighbours are in the same page
        await self._run(self._execute, "begin")
        for start in range(0, len(names), _CHUNK):
            rows = {name: changes[name] for name in names[start : start + _CHUNK]}
            chunk = msgspec.json.encode(rows).decode()
            await self._run(self._execute, _STORE, chunk)
            await self._run(self._execute, _DELETE, chunk)
        failpoints.at("recorder_before_save")
        await self._run(self._commit, msgspec.json.encode(checkpoint).decode())

    async def _run(self, call: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: call(*arguments, **options)
            )
        except sqlite3.Error:
            self._damaged = True
            raise

    # --- in the thread

    def _open(self) -> AccountsCheckpoint | None:
        lock, path = self._locked()
        try:
            self._file = _Open(lock, path, self._connected(path))
        except BaseException:
            lock.close()
            raise
        sql = "select content from checkpoint where origin = ?"
        if row := self._file.connection.execute(sql, (self._origin,)).fetchone():
            with contextlib.suppress(msgspec.MsgspecError):
                return msgspec.json.decode(row[0], type=AccountsCheckpoint)
        return None

    def _locked(self) -> tuple[IO[bytes], Path]:
        for number in range(_FILES):
            path = self._directory / f"{self._name}.{number}.sqlite"
            lock = path.with_suffix(".lock").open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                return lock, path
        raise BlockingIOError(f"{_FILES} processes have {self._name} open in {self._directory}")

    def _connected(self, path: Path) -> sqlite3.Connection:
        try:
            return _connect(path)
        except sqlite3.DatabaseError as error:
            _log.warning("account file is damaged", path=str(path), error=str(error))
            _delete(path)
            return _connect(path)

    def _execute(self, sql: str, *parameters: str) -> None:
        assert self._file
        self._file.connection.execute(sql, parameters)

    def _read(self, accounts: str) -> str:
        assert self._file
        [(found,)] = self._file.connection.execute(_READ, (accounts,))
        return str(found)

    def _commit(self, checkpoint: str) -> None:
        self._execute("delete from checkpoint")
        self._execute("insert into checkpoint values (?, ?)", self._origin, checkpoint)
        self._execute("commit")

    def _clear(self) -> None:
        assert self._file
        lock, path, connection = self._file
        connection.close()
        _delete(path)
        self._file = _Open(lock, path, _connect(path))

    def _close(self) -> None:
        if self._file is None:
            return
        lock, path, connection = self._file
        self._file = None
        with lock:  # closing the lock's file releases it
            connection.close()
            if self._damaged:
                _delete(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("pragma locking_mode = exclusive")  # without it, readers would share memory
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute(f"pragma cache_size = -{_CACHE_KIB}")
        connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def _delete(path: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
