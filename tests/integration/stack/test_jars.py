"""Downloads of jars, from a repository on loopback: complete and as locked, or one error line."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from livebalance.stack.build import jars
from livebalance.stack.build.jars import Jar
from livebalance.stack.errors import StackError

_CONTENT = {"a-1.jar": b"a" * 200_000, "b-2.jar": b"b" * 50_000}


class _Repository(BaseHTTPRequestHandler):
    served: ClassVar[list[str]]
    cut: ClassVar[set[str]]
    corrupt: ClassVar[set[str]]

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[1]
        self.served.append(name)
        body = _CONTENT[name] if name not in self.corrupt else b"x" * len(_CONTENT[name])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if name in self.cut else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Repository]]:
    """A Maven repository with two jars, which the lock names."""
    _Repository.served, _Repository.cut, _Repository.corrupt = [], set(), set()
    lock = [
        Jar(f"org.x:{name[0]}:{name[2]}", len(body), hashlib.sha256(body).hexdigest())
        for name, body in _CONTENT.items()
    ]
    monkeypatch.setattr(jars, "read_lock", lambda: lock)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Repository) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("LIVEBALANCE_MAVEN_REPOSITORY", f"http://127.0.0.1:{server.server_port}")
        yield _Repository
        server.shutdown()


def test_missing_jars_are_downloaded_once(repository: type[_Repository], tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    jars.fetch(tmp_path, lambda done, total: progress.append((done, total)))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == _CONTENT
    assert progress[-1] == (250_000, 250_000)
    jars.fetch(tmp_path)
    assert sorted(repository.served) == ["a-1.jar", "b-2.jar"]


def test_concurrent_fetches_download_once(repository: type[_Repository], tmp_path: Path) -> None:
    """Without a lock, each would delete the unfinished downloads of the others."""
    with ThreadPoolExecutor() as pool:
        for fetch in [pool.submit(jars.fetch, tmp_path) for _ in range(4)]:
            assert fetch.result() == tmp_path
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == _CONTENT
    assert sorted(repository.served) == ["a-1.jar", "b-2.jar"]


def test_cut_off_download_gives_an_error_and_other_jars_are_kept(
    repository: type[_Repository], tmp_path: Path
) -> None:
    repository.cut.add("a-1.jar")
    with pytest.raises(StackError, match=r"a-1.jar was cut off after 1000 of 200000 bytes: .*start again"):
        jars.fetch(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"b-2.jar"}
    repository.cut.clear()
    jars.fetch(tmp_path)
    assert sorted(repository.served) == ["a-1.jar", "a-1.jar", "b-2.jar"]


def test_jar_with_another_hash_is_refused(repository: type[_Repository], tmp_path: Path) -> None:
    repository.corrupt.add("b-2.jar")
    with pytest.raises(StackError, match=r"b-2.jar from .* does not have the hash in jars.lock"):
        jars.fetch(tmp_path)
    assert not (tmp_path / "b-2.jar").exists()


def test_unreachable_repository_gives_one_error_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEBALANCE_MAVEN_REPOSITORY", "http://127.0.0.1:9")
    with pytest.raises(StackError, match="cannot download") as caught:
        jars.fetch(tmp_path)
    assert "\n" not in str(caught.value)


def test_jar_that_is_not_locked_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a-0.jar").write_bytes(b"old")
    jars.fetch(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(_CONTENT)


def test_cache_of_classes_is_kept_until_a_jar_is_downloaded(tmp_path: Path) -> None:
    jars.fetch(tmp_path)
    cache = jars.class_cache(tmp_path)
    cache.write_bytes(b"classes")
    jars.fetch(tmp_path)
    assert cache.exists()
    (tmp_path / "a-1.jar").unlink()
    jars.fetch(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(_CONTENT)
