"""The jars of Kafka: named with their hashes in `jars.lock`, fetched once, each checked before it counts.

`python -m livebalance.stack.build.jars` writes the lock anew from the endpoint below.
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
from pathlib import Path
from typing import IO

from livebalance.stack.build import maven
from livebalance.stack.errors import StackError, from_os

# slf4j-simple and no other binding: log4j's would pull the Kafka clients back to an older version.
KAFKA = "4.3.1"
_ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA}+org.slf4j:slf4j-simple:1.7.36"
_LOCK = Path(__file__).with_name("jars.lock")
_CHUNK = 65_536
_SECONDS = 30.0  # without a byte
_AGAIN = "check the network, then start again; what has arrived is kept"

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def silent(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class Jar:
    """One line of the lock."""

    coordinate: str  # group:artifact:version
    size: int  # bytes
    sha256: str

    @property
    def name(self) -> str:
        """Its file name."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def path(self) -> str:
        """Where it lies in a Maven repository."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.name}"


def locked() -> list[Jar]:
    """What the lock names."""
    lines = (line.split() for line in _LOCK.read_text().splitlines() if not line.startswith("#"))
    return [Jar(coordinate, int(size), sha256) for coordinate, size, sha256 in lines]


def fetch(directory: Path, progress: Progress = silent) -> Path:
    """Make `directory` hold exactly the locked jars; `progress` hears bytes done and in all.

    Raises:
        Trouble: a download was cut, is not what the lock says, or does not fit on the disk.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(directory):
            _complete(directory, progress)
    except OSError as error:
        raise from_os(error) from error
    return directory


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Who comes second waits, and finds everything there; the end of the first lets it go on."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _complete(directory: Path, progress: Progress) -> None:
    jars = locked()
    missing = [jar for jar in jars if not _is_there(directory / jar.name, jar)]
    total, done = sum(jar.size for jar in missing), 0

    def received(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    if missing:
        repository = maven.repository()
        with ThreadPoolExecutor(8) as pool:
            coming = [pool.submit(_download, jar, repository, directory, received) for jar in missing]
        for one in coming:  # all have come, or not: one that did not takes nothing from the others
            one.result()
    for stray in {path.name for path in directory.iterdir()} - {jar.name for jar in jars}:
        (directory / stray).unlink()


def _is_there(path: Path, jar: Jar) -> bool:
    return path.is_file() and path.stat().st_size == jar.size


def _download(jar: Jar, repository: str, directory: Path, received: Callable[[int], None]) -> None:
    part = directory / f"{jar.name}.{os.getpid()}.part"
    try:
        size, sha256 = _receive(f"{repository}/{jar.path}", part, received)
        if size != jar.size:
            raise StackError(f"the download of {jar.name} was cut after {size} of {jar.size} bytes: {_AGAIN}")
        if sha256 != jar.sha256:
            raise StackError(
                f"{jar.name} is not what jars.lock says: ask who serves {repository}; nothing was kept of it"
            )
        part.rename(directory / jar.name)
    finally:
        part.unlink(missing_ok=True)


def _receive(url: str, part: Path, received: Callable[[int], None]) -> tuple[int, str]:
    """Size and hash of what came."""
    digest, size = hashlib.sha256(), 0
    try:
        response = urllib.request.urlopen(url, timeout=_SECONDS)  # noqa: S310 - an address of our own making
    except OSError as error:
        raise StackError(f"{url} cannot be had ({error}): {_AGAIN}") from error
    with response, part.open("wb") as file:
        while chunk := _read(response, url):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            received(len(chunk))
    return size, digest.hexdigest()


def _read(response: IO[bytes], url: str) -> bytes:
    try:
        return response.read(_CHUNK)
    except OSError as error:
        raise StackError(f"the download of {url} was cut ({error}): {_AGAIN}") from error


def _lock_anew() -> None:
    from jgo.env import EnvironmentBuilder  # noqa: PLC0415 - only here
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - only here

    with tempfile.TemporaryDirectory() as scratch:
        repository = Path(scratch, "repository")
        context = MavenContext(repo_cache=repository, resolver=PythonResolver())
        builder = EnvironmentBuilder(context=context, cache_dir=Path(scratch, "cache"))
        names = {path.name for path in builder.from_endpoint(_ENDPOINT).all_jars}
        paths = sorted(path for path in repository.rglob("*.jar") if path.name in names)
        lines = [_line(path, coordinate_of(path, repository)) for path in paths]
    header = f"# {_ENDPOINT}\n# group:artifact:version, bytes, sha256\n"
    _LOCK.write_text(header + "\n".join(lines) + "\n")


def _line(path: Path, coordinate: str) -> str:
    content = path.read_bytes()
    return f"{coordinate} {len(content)} {hashlib.sha256(content).hexdigest()}"


def coordinate_of(path: Path, repository: Path) -> str:
    """group:artifact:version of a jar, from where it lies in a Maven repository."""
    *group, artifact, version, _ = path.relative_to(repository).parts
    return f"{'.'.join(group)}:{artifact}:{version}"


if __name__ == "__main__":
    _lock_anew()
