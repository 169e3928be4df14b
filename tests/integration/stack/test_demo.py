"""`make demo` as a process: it starts, is killed, and starts again with its data."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.secret import demo_secret
from tests.tokens import bearer, claims, sign

_START_SECONDS = 200.0  # longer than the stack waits, so that the stack names the service that is not ready
_END_SECONDS = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with the real downloads. Its path has a space, as some users' paths have."""
    jars = StatePaths.from_environment().home / "jars"
    jars.mkdir(parents=True, exist_ok=True)
    home = tmp_path / "my home"
    home.mkdir()
    (home / "jars").symlink_to(jars)
    return home


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(home: Path) -> Run:
    """Runs a command of the stack to its end."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "livebalance.stack", *words]
        return subprocess.run(
            line, env=_environment(home), capture_output=True, text=True, timeout=_START_SECONDS, check=False
        )

    return run


@pytest.fixture
def demo(home: Path, command: Run) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a demo in the foreground and waits until it runs. It is killed after the test."""
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
        deadline = time.monotonic() + _START_SECONDS
        while command("status").returncode != 0:
            assert process.poll() is None, _printed(command, home)
            assert time.monotonic() < deadline, _printed(command, home)
            time.sleep(0.5)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _printed(command: Run, home: Path) -> str:
    """Returns what the demo printed, and the last lines of its processes."""
    return (home / "output").read_text() + command("logs", "--lines", "200").stdout


def _environment(home: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("LIVEBALANCE_")}
    return {**others, "LIVEBALANCE_STATE_DIRECTORY": str(home), "LIVEBALANCE_PARENT_PID": str(os.getpid())}


def _status(command: Run) -> dict[str, object]:
    status: dict[str, object] = json.loads(command("status").stdout)
    return status


def _pids(status: dict[str, object]) -> list[int]:
    pids = status["pids"]
    assert isinstance(pids, dict)
    return [pid for of_kind in pids.values() for pid in of_kind]


def _assert_ended(pids: list[int]) -> None:
    """Asserts that processes end within the time in which they have to."""
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=_END_SECONDS
    )
    assert not alive, "\n\n".join(map(_described, alive))


def _described(process: psutil.Process) -> str:
    """Returns what runs, and the last lines of its log, to which its output goes."""
    lines = [repr(process)]
    try:
        lines.append(" ".join(process.cmdline()))
        lines += Path(f"/proc/{process.pid}/fd/1").read_text(errors="replace").splitlines()[-30:]
    except (psutil.Error, OSError) as error:  # it has ended meanwhile
        lines.append(repr(error))
    return "\n".join(lines)


def _revisions(
    status: dict[str, object], home: Path, headers: Mapping[str, str] = MappingProxyType({})
) -> dict[str, int]:
    """Returns the revision of each account, from a gateway. A busy one asks for another try."""
    token = bearer(sign(claims(), demo_secret(StatePaths(home, home / "demo"))))
    request = Request(f"{status['page']}/api/v1/accounts", headers={**token, **headers})
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(request, timeout=30) as response:
                listed = json.load(response)["accounts"]
            return {account["account"]: account["revision"] for account in listed}
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(float(error.headers["retry-after"]))


def _request_token(page: str, headers: Mapping[str, str]) -> int:
    """Returns the status of a request for a token."""
    try:
        with urlopen(Request(f"{page}/api/demo/token", b"", dict(headers)), timeout=30) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def _kill_gateway_1(port: str) -> object:
    """Kills a gateway as the page does, and returns the answer."""
    page = f"http://127.0.0.1:{port}"
    request = Request(
        f"{page}/api/demo/control/kill-gateway", b'{"gateway": "gateway-1"}', {"Origin": page}, method="POST"
    )
    with urlopen(request, timeout=30) as response:
        return json.load(response)


@pytest.mark.timeout(600)
def test_killed_demo_leaves_no_process_and_restarts_with_its_data(
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
    deadline = time.monotonic() + 60
    while (
        sum((before := _revisions(status, home)).values()) < 8 + 2 * 40 * 2
    ):  # openings, transfers, balances
        assert time.monotonic() < deadline, before
        time.sleep(0.1)

    with pytest.raises(HTTPError, match="400"):
        _revisions(status, home, {"Host": "website.example"})
    assert _request_token(str(status["page"]), {"Host": "website.example"}) == 400

    process.kill()
    process.wait()
    _assert_ended(pids)
    assert command("status").returncode == 1
    # A broker that is shut down with its clients may lose the markers of their transactions.
    assert not (home / "demo" / "kafka" / "log" / ".kafka_cleanshutdown").exists()

    again = demo("--limit", "1", "--rate", "max")
    status = _status(command)
    after = _revisions(status, home)
    assert all(after[account] >= revision for account, revision in before.items())

    again.send_signal(signal.SIGINT)
    assert again.wait(_END_SECONDS) == 0
    _assert_ended(_pids(status))


@pytest.mark.timeout(500)
def test_up_prints_the_page_status_lists_restarts_and_down_leaves_no_process(command: Run) -> None:
    port = str(free_port())
    try:
        first = command("up", "--no-page", "--port", port, "--limit", "1")
        assert first.returncode == 0, first.stdout + first.stderr
        assert f"Open http://127.0.0.1:{port}\n" in first.stdout
        second = command("up", "--no-page")
        assert (second.returncode, second.stderr) == (
            1,
            f"✗ Livebalance is already running: http://127.0.0.1:{port}\n",
        )
        pids = _pids(before := _status(command))
        killed = before["pids"]["projector"][0]  # type: ignore[index]
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(now := set(_status(command)["pids"]["projector"])) < 2 or killed in now:  # type: ignore[index]
            assert time.monotonic() < deadline, now
        pids += now
        gateway = before["pids"]["gateway"][0]  # type: ignore[index]
        assert _kill_gateway_1(port) == {"gateway": "gateway-1", "pid": gateway}
        deadline = time.monotonic() + 60
        while len(now := set(_status(command)["pids"]["gateway"])) < 2 or gateway in now:  # type: ignore[index]
            assert time.monotonic() < deadline, now
        pids += now
    finally:
        down = command("down")
    assert down.returncode == 0
    _assert_ended(pids)


@pytest.mark.timeout(500)
def test_taken_port_gives_one_error_line(command: Run) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port := free_port())]
    ) as server:
        try:
            deadline = time.monotonic() + 60
            while not any(
                connection.laddr.port == port for connection in psutil.Process(server.pid).net_connections()
            ):
                assert time.monotonic() < deadline
            result = command("demo", "--no-page", "--port", str(port))
        finally:
            server.kill()
    assert result.returncode == 1
    assert result.stderr == (
        f"✗ port {port} is taken: stop the process that uses it, or choose another port with --port\n"
    )
