"""All of Livebalance on this machine: servers, services and balancer, for the demo and for tests."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from livebalance.readmodel.migrate import migrate
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.process.health import serve
from livebalance.stack.build.page import PAGE_DIRECTORY, PageBuild
from livebalance.stack.control.control import DemoControl
from livebalance.stack.control.transfers import TransferWriter
from livebalance.stack.errors import StackError, from_os
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan, page_origins, services
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.process.service import Service, responds
from livebalance.stack.process.supervisor import STARTUP_ERROR, Supervisor, exit_reason
from livebalance.stack.progress import StartupProgress
from livebalance.stack.secret import demo_secret
from livebalance.stack.servers.balancer import PUBLIC_PATH, balancer, page_port
from livebalance.stack.servers.servers import Server, Servers
from livebalance.stack.state import ClusterState

_POLL_SECONDS = 0.05
_READY_SECONDS = 120.0
_LABELS = {"kafka": "Kafka", "postgres": "PostgreSQL", "redis": "Redis (Valkey)"}
# Clients and sources stop first, servers last: no process loses a server that it needs.
_STOP_ORDER = (("balancer", "feed"), ("gateway", "recorder", "projector"), ("kafka", "postgres", "redis"))


class Cluster:
    """Runs a plan; an async context manager that stops every process that it has started.

    While it runs, `page`, `gateways`, `postgres(role)` and `redis` are URLs, and `kafka` is host:port. Each
    process has a supervisor, such as `supervisors["projector-1"]`, which restarts the process when it ends.
    """

    def __init__(
        self, paths: StatePaths, plan: ClusterPlan | None = None, progress: StartupProgress | None = None
    ) -> None:
        self.paths = paths
        self.plan = plan or ClusterPlan()
        self._progress = progress or StartupProgress()
        self._locks = ExitStack()
        self._control = AsyncExitStack()
        self.supervisors: dict[str, Supervisor] = {}
        self.services: dict[str, Service] = {}
        self._containers: list[Server] = []  # supervised by the Docker engine
        self._port: int | None = None
        self._is_running = False

    @property
    def page(self) -> str:
        """URL of the balancer."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def gateways(self) -> list[str]:
        """URL of each gateway."""
        return [gateway.http for gateway in self._gateways()]

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        return self._servers.kafka

    def postgres(self, role: str = "owner") -> str:
        """Returns the URL of the database for a role."""
        return self._servers.postgres(role)

    @property
    def demo_secret(self) -> str:
        """The secret that signs the demo's tokens."""
        return demo_secret(self.paths)

    @property
    def redis(self) -> str:
        """URL of Redis."""
        return self._servers.redis()

    async def start(self) -> None:
        """Starts everything, and waits until the balancer and all services are ready.

        Raises:
            StackError: a part did not start; nothing is left running.
        """
        self._locks.enter_context(self.paths.locked())
        try:
            self._write_state()
            self._servers = Servers(self.paths, durable=self.plan.durable)
            self._port = page_port(self.plan.port)
            await self._start_servers()
            self._start_services(await self._start_control())
            await self._wait_until_ready()
        except BaseException as error:
            await self.stop()
            if stack_error := _stack_error_in(error):
                raise stack_error from error
            raise
        self._is_running = True
        self._write_state()

    async def stop(self) -> None:
        """Stops everything: the balancer and the feed first, the servers last."""
        await self._control.aclose()
        for kinds in _STOP_ORDER:
            names = [name for name in self.supervisors if service_kind(name) in kinds]
            await asyncio.gather(*(self.supervisors[name].stop() for name in names))
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in self._containers))
        self._is_running = False
        ClusterState.delete(self.paths)
        self._locks.close()

    def state(self) -> ClusterState:
        """Returns the present addresses and process ids."""
        if not self._is_running:
            return ClusterState(supervisor=os.getpid())
        pids: dict[str, list[int]] = {}
        for name, supervisor in self.supervisors.items():
            pid = supervisor.child.pid
            pids.setdefault(service_kind(name), []).extend([pid] if pid else [])
        return ClusterState(
            page=self.page,
            gateways=self.gateways,
            kafka=self.kafka,
            postgres=self.postgres("analyst"),
            redis=self.redis,
            pids=pids,
            supervisor=os.getpid(),
        )

    def _report(self, text: str) -> None:
        self._progress.report(text)
        self._write_state()

    def _write_state(self) -> None:
        self.state().write(self.paths)

    def _gateways(self) -> list[Service]:
        return [service for service in self.services.values() if service.kind == "gateway"]

    async def _start_servers(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_server("redis"))
            group.create_task(self._start_server("postgres", self._migrate))
            group.create_task(self._start_server("kafka", self._create_topics))
            if self.plan.page:
                group.create_task(self._build_page())

    async def _start_server(self, name: str, initialize: Callable[[], Awaitable[None]] | None = None) -> None:
        if server := self._servers.managed.get(name):
            with self._progress.step(_LABELS[name]) as show_download:
                await asyncio.to_thread(server.prepare, show_download)
                server.start()
                if embedded := self._servers.embedded.get(name):
                    self.supervisors[name] = Supervisor(embedded.child, self._report)
                else:
                    self._containers.append(server)
                await asyncio.to_thread(server.ready)
                if embedded:
                    self.supervisors[name].attach()
        if initialize:
            await initialize()

    async def _migrate(self) -> None:
        with self._progress.step("Tables"):
            await migrate(self.postgres("owner"))

    async def _create_topics(self) -> None:
        if not self.plan.own_topics:
            with self._progress.step("Topics"):
                await self.plan.topics.create(self._servers.broker)

    async def _build_page(self) -> None:
        page = PageBuild(self.paths)
        if page.is_current:
            return
        with self._progress.step("Page (npm, Angular)"):
            try:
                await asyncio.to_thread(page.build)
            except asyncio.CancelledError:
                page.cancel()
                raise

    async def _start_control(self) -> int | None:
        """Starts to serve what the page may do to the demo, and returns the port."""
        assert self._port
        if not self.plan.control:
            return None
        topics, port = self.plan.topics, free_port()
        settings = ServiceSettings(
            name="demo", kafka=self.kafka, transfers_topic=topics.transfers, balances_topic=topics.balances
        )
        writer = TransferWriter(settings, self.plan.accounts)

        async def write_transfers(request: dict[str, Any]) -> dict[str, Any]:
            count = request.get("count")
            return {"count": count, "last": await writer.write(request.get("account"), count)}

        actions = {"kill-gateway": self._kill_gateway, "transfers": write_transfers}
        control = DemoControl(page_origins(self._port), actions)
        await self._control.enter_async_context(serve(control, ("127.0.0.1", port)))
        return port

    async def _kill_gateway(self, request: dict[str, Any]) -> dict[str, Any]:
        service = self.services.get(str(request.get("gateway")))
        if service is None or service.kind != "gateway" or service.child.pid is None:
            raise ValueError("no running gateway has this name")
        return {"gateway": service.name, "pid": self.supervisors[service.name].kill()}

    def _start_services(self, control_port: int | None) -> None:
        assert self._port
        for service in services(self.paths, self.plan, self._servers, self._port):
            self.services[service.name] = service
            self._supervise(service.name, service.child, once=service.kind == "feed")
        feed = self.services.get("feed-1")
        health_port = self._gateways()[0].operations_port
        process = balancer(
            self.paths,
            self._port,
            self.gateways,
            health_port,
            feed.port if feed else None,
            page=PAGE_DIRECTORY if self.plan.page else None,
            control=control_port,
        )
        environment = {**process.environment, **self.plan.environment.get("balancer", {})}
        self._supervise("balancer", replace(process, environment=environment))

    def _supervise(self, name: str, child: ChildProcess, *, once: bool = False) -> None:
        self.supervisors[name] = Supervisor(child, self._report, once=once)
        self.supervisors[name].start()

    async def _wait_until_ready(self) -> None:
        with self._progress.step("Services"):
            try:
                async with asyncio.timeout(_READY_SECONDS):
                    for service in self.services.values():
                        await self._wait_for(service)
                    while not await responds(self._port or 0, PUBLIC_PATH):  # noqa: ASYNC110 - no event to wait for
                        await asyncio.sleep(_POLL_SECONDS)
            except TimeoutError:
                missing = [name for name, service in self.services.items() if not await service.is_ready()]
                names = ", ".join(missing) or "the balancer"
                raise StackError(f"not ready after {_READY_SECONDS:.0f} s: {names} (make logs)") from None

    async def _wait_for(self, service: Service) -> None:
        while not await service.is_ready():
            if service.child.exit_code == STARTUP_ERROR:
                raise StackError(exit_reason(service.child))
            if service.child.exit_code == 0:  # a feed with a limit may end before this asks
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def service_kind(name: str) -> str:
    """Returns the kind of a process: projector for projector-1."""
    return name.partition("-")[0]


def _stack_error_in(error: BaseException) -> StackError | None:
    """Returns an error that the user can act on, from an exception or a group of exceptions; else None."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_stack_error_in, error.exceptions)), None)
    if isinstance(error, OSError):
        return from_os(error)
    return error if isinstance(error, StackError) else None
