"""`make demo` as a process: up, told of, killed, up again with its data."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest

from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.secret import demo_secret
from tests.tokens import bearer, claims, sign

_UP = 90.0  # seconds
_GONE = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of its own, with the downloads of the real one; its path has a space, as some have."""
    jars = StatePaths.from_environment().home / "jars"
    jars.mkdir(parents=True, exist_ok=True)
    home = tmp_path / "my home"
    home.mkdir()
    (home / "jars").symlink_to(jars)
    return home


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(home: Path) -> Run:
    """Run a command of the stack to its end."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "livebalance.stack", *words]
        return subprocess.run(
            line, env=_environment(home), capture_output=True, text=True, timeout=_UP, check=False
        )

    return run


@pytest.fixture
def demo(home: Path, command: Run) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a demo in the foreground and wait until it is up; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        line = [
            sys.executable,
            "-m",
            "livebalance.stack",
            "demo",
            "--no-page",
            "--port",
            str(free_port()),
            *words,
        ]
        with (home / "output").open("ab") as output:
            process = subprocess.Popen(line, env=_environment(home), stdout=output, stderr=output, text=True)
        started.append(process)
        deadline = time.monotonic() + _UP
        while command("status").returncode != 0:
            assert process.poll() is None, (home / "output").read_text()
            assert time.monotonic() < deadline, (home / "output").read_text()
            time.sleep(0.5)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _environment(home: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LIVEBALANCE_")}
    return {**ours, "LIVEBALANCE_STATE_DIRECTORY": str(home), "LIVEBALANCE_PARENT_PID": str(os.getpid())}


def _status(command: Run) -> dict[str, object]:
    answer: dict[str, object] = json.loads(command("status").stdout)
    return answer


def _pids(status: dict[str, object]) -> list[int]:
    pids = status["pids"]
    assert isinstance(pids, dict)
    return [pid for of_kind in pids.values() for pid in of_kind]


def _left_of(pids: list[int]) -> list[int]:
    """Those still there after the time they have to end."""
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=_GONE
    )
    return [process.pid for process in alive]


def _balances(status: dict[str, object], home: Path) -> dict[str, int]:
    """Revision of each account, by one of the gateways."""
    mine = bearer(sign(claims(), demo_secret(StatePaths(home, home / "demo"))))
    request = Request(f"{status['page']}/api/v1/accounts", headers=mine)
    with urlopen(request, timeout=10) as response:
        return {one["account"]: one["revision"] for one in json.load(response)["accounts"]}


@pytest.mark.timeout(300)
def test_killed_it_leaves_nothing_and_comes_back_with_its_data(
    demo: Callable[..., subprocess.Popen[str]], command: Run, home: Path
) -> None:
    process = demo("--limit", "40", "--rate", "max")
    status = _status(command)
    pids = _pids(status)
    kinds = {
        "gateway": 2,
        "projector": 2,
        "recorder": 1,
        "feed": 1,
        "kafka": 1,
        "postgres": 1,
        "redis": 1,
        "balancer": 1,
    }
    assert {kind: len(of_kind) for kind, of_kind in status["pids"].items() if kind != "feed"} == {  # type: ignore[attr-defined]
        kind: count for kind, count in kinds.items() if kind != "feed"
    }
    deadline = time.monotonic() + 30
    while sum((before := _balances(status, home)).values()) < 8 + 2 * 40 * 2:  # opened, transfers, balances
        assert time.monotonic() < deadline, before
        time.sleep(0.1)

    process.kill()
    process.wait()
    assert _left_of(pids) == []
    assert command("status").returncode == 1

    again = demo("--limit", "1", "--rate", "max")
    status = _status(command)
    after = _balances(status, home)
    assert all(after[account] >= revision for account, revision in before.items())

    again.send_signal(signal.SIGINT)
    assert again.wait(_GONE) == 0
    assert _left_of(_pids(status)) == []


@pytest.mark.timeout(200)
def test_up_says_where_it_is_and_down_leaves_nothing(command: Run) -> None:
    port = str(free_port())
    try:
        first = command("up", "--no-page", "--port", port, "--limit", "1")
        assert first.returncode == 0, first.stdout + first.stderr
        assert f"Open http://127.0.0.1:{port}\n" in first.stdout
        second = command("up", "--no-page")
        assert (second.returncode, second.stderr) == (1, f"✗ it is up already: http://127.0.0.1:{port}\n")
        pids = _pids(_status(command))
    finally:
        down = command("down")
    assert down.returncode == 0
    assert _left_of(pids) == []


@pytest.mark.timeout(200)
def test_a_taken_port_is_one_line(command: Run) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port := free_port())]
    ) as other:
        try:
            deadline = time.monotonic() + 10
            while not any(one.laddr.port == port for one in psutil.Process(other.pid).net_connections()):
                assert time.monotonic() < deadline
            answer = command("demo", "--no-page", "--port", str(port))
        finally:
            other.kill()
    assert answer.returncode == 1
    assert answer.stderr == f"✗ port {port} is taken: stop what uses it, or ask for another with --port\n"
