"""Downloads: whole and as the lock says, or nothing and one line. Served from loopback."""

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
    false: ClassVar[set[str]]

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[1]
        self.served.append(name)
        body = _CONTENT[name] if name not in self.false else b"x" * len(_CONTENT[name])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if name in self.cut else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Repository]]:
    """A Maven repository with two jars, and a lock that names them."""
    _Repository.served, _Repository.cut, _Repository.false = [], set(), set()
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


def test_what_is_missing_is_fetched_once(repository: type[_Repository], tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    jars.fetch(tmp_path, lambda done, total: heard.append((done, total)))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == _CONTENT
    assert heard[-1] == (250_000, 250_000)
    jars.fetch(tmp_path)
    assert sorted(repository.served) == ["a-1.jar", "b-2.jar"]


def test_two_at_once_fetch_once(repository: type[_Repository], tmp_path: Path) -> None:
    """Each would take the half of the other for a stray."""
    with ThreadPoolExecutor() as pool:
        for one in [pool.submit(jars.fetch, tmp_path) for _ in range(4)]:
            assert one.result() == tmp_path
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == _CONTENT
    assert sorted(repository.served) == ["a-1.jar", "b-2.jar"]


def test_a_cut_download_is_told_and_the_rest_is_kept(repository: type[_Repository], tmp_path: Path) -> None:
    repository.cut.add("a-1.jar")
    with pytest.raises(StackError, match=r"a-1.jar was cut after 1000 of 200000 bytes: .*start again"):
        jars.fetch(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"b-2.jar"}
    repository.cut.clear()
    jars.fetch(tmp_path)
    assert sorted(repository.served) == ["a-1.jar", "a-1.jar", "b-2.jar"]


def test_what_the_lock_does_not_know_is_refused(repository: type[_Repository], tmp_path: Path) -> None:
    repository.false.add("b-2.jar")
    with pytest.raises(StackError, match=r"b-2.jar is not what jars.lock says"):
        jars.fetch(tmp_path)
    assert not (tmp_path / "b-2.jar").exists()


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEBALANCE_MAVEN_REPOSITORY", "http://127.0.0.1:9")
    with pytest.raises(StackError, match="cannot be had") as caught:
        jars.fetch(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_jar_of_another_version_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a-0.jar").write_bytes(b"old")
    jars.fetch(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(_CONTENT)
