"""The project of `docker-compose.yml` on an engine, with a name, volumes and a port of its own."""

import asyncio
import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

from livebalance.stack.paths import free_port
from tests.containers.engine import docker

BUILD_SECONDS = 1800.0
START_SECONDS = 600.0
POLL = 0.5  # seconds
IMAGE = f"livebalance:{version('livebalance-stack')}"
JOBS = ("migrations", "topics", "secret")

# Run in the engine's process namespace, it ends the first process of a container as a crash would. After
# `docker kill` the engine would not restart the container.
_CRASH = "import os, sys; os.kill(int(sys.argv[1]), 9)"
# A container without capabilities may not signal processes of other users.
_KILLER = ["run", "--rm", "--pid=host", "--network=none", "--user=0:0", "--cap-drop=ALL", "--cap-add=KILL"]


class ContainerState(NamedTuple):
    """What the engine knows of a container. `healthy_at` is the end of its first good check since then."""

    id: str
    status: str
    exit_code: int
    pid: int
    started_at: datetime
    finished_at: datetime
    healthy_at: datetime | None


class ComposeProject:
    """A project whose containers, volumes and networks have names that begin with `name`."""

    def __init__(self, name: str) -> None:
        self.name = name
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {"LIVEBALANCE_PORT": str(port)}

    def compose(self, *words: str, within: float = 60.0) -> str:
        """Returns what `docker compose` prints. `within` is a timeout in seconds."""
        return docker("compose", "-p", self.name, *words, within=within, environment=self._environment)

    def build(self) -> None:
        """Builds both images."""
        self.compose("build", within=BUILD_SECONDS)

    def up(self) -> None:
        """Starts everything, and waits until it is healthy."""
        self.compose("up", "--detach", "--wait", within=START_SECONDS)

    def down(self) -> None:
        """Removes all containers, networks and volumes."""
        self.compose("down", "--volumes", "--timeout=5", within=START_SECONDS)

    def images(self) -> set[str]:
        """Returns the names of the images of all services, apart from those of the project itself."""
        images = set(self.compose("config", "--images").split())
        return {image for image in images if not image.startswith("livebalance")}

    def services(self) -> list[str]:
        """Returns the names of all services but the jobs."""
        return sorted(set(self.compose("config", "--services").split()) - set(JOBS))

    def container(self, service: str) -> str:
        """Returns the name of the container of a service."""
        return f"{self.name}-{service}-1"

    def execute(self, service: str, *command: str, user: str = "") -> str:
        """Returns what a command in the container of a service prints, with its errors."""
        return docker("exec", *(["--user", user] if user else []), self.container(service), *command)

    def state(self, service: str) -> ContainerState:
        """Returns the state of the container of a service."""
        [container] = json.loads(docker("inspect", self.container(service)))
        state = container["State"]
        started_at = _time(state["StartedAt"])
        checks = [
            _time(check["End"])
            for check in state.get("Health", {}).get("Log") or ()
            if check["ExitCode"] == 0 and _time(check["Start"]) > started_at
        ]
        return ContainerState(
            container["Id"],
            state["Health"]["Status"] if "Health" in state and state["Running"] else state["Status"],
            state["ExitCode"],
            state["Pid"],
            started_at,
            _time(state["FinishedAt"]),
            min(checks, default=None),
        )

    def kill(self, *services: str) -> None:
        """Kills the first process of the container of each service with SIGKILL."""
        for service in services:
            pid = self.state(service).pid
            docker(*_KILLER, IMAGE, "python", "-c", _CRASH, str(pid))

    async def wait_until_restarted(self, service: str, after: datetime, within: float) -> ContainerState:
        """Waits until a service, started again after this time, is healthy."""
        try:
            async with asyncio.timeout(within):
                while True:
                    state = await asyncio.to_thread(self.state, service)
                    if state.started_at > after and state.status == "healthy" and state.healthy_at:
                        return state
                    await asyncio.sleep(POLL)
        except TimeoutError:
            logs = docker("logs", "--tail=20", self.container(service))
            raise AssertionError(f"{service} is not healthy after {within} s: {state}\n{logs}") from None

    def query(self, statement: str) -> Sequence[Sequence[str]]:
        """Returns the rows of a query, which runs as the role `analyst`."""
        psql = ["psql", "-U", "analyst", "-d", "livebalance", "--csv", "--tuples-only", "-c", statement]
        return list(csv.reader(self.execute("postgres", *psql).splitlines()))


def now() -> datetime:
    """Returns the time by the clock of this machine, which is that of the engine."""
    return datetime.now(UTC)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
