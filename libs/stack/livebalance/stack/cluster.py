"""All of Livebalance on this machine: servers, services, balancer; the same for the demo and for tests."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from livebalance.readmodel.migrate import migrate
from livebalance.runtime.process import ready
from livebalance.stack.build.page import PageBuild
from livebalance.stack.errors import StackError, from_os
from livebalance.stack.paths import StatePaths
from livebalance.stack.plan import ClusterPlan, services
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.process.service import Service, answers
from livebalance.stack.process.supervisor import REFUSED, Supervisor, how_it_ended
from livebalance.stack.progress import StartupProgress
from livebalance.stack.secret import demo_secret
from livebalance.stack.servers.balancer import balancer, page_port
from livebalance.stack.servers.servers import Server, Servers
from livebalance.stack.state import ClusterState

_POLL = 0.05  # seconds
_READY = 120.0  # seconds for the services to be ready
_LABELS = {"kafka": "Kafka", "postgres": "PostgreSQL", "redis": "Redis (Valkey)"}
# Who is stopped first loses nothing: what comes before in the path stands still by then.
_STOP_ORDER = (("balancer", "feed"), ("gateway", "recorder", "projector"), ("kafka", "postgres", "redis"))


class Cluster:
    """A running plan; an async context manager that leaves no process behind.

    While it is up: `page` and `gateways` are URLs, `kafka` host:port, `postgres(role)` and `redis` URLs, and
    `watches["projector-1"]` can kill, stop and start a process. A process that ends is started again.
    """

    def __init__(
        self, place: StatePaths, plan: ClusterPlan | None = None, steps: StartupProgress | None = None
    ) -> None:
        self.place = place
        self.plan = plan or ClusterPlan()
        self._steps = steps or StartupProgress()
        self._locks = ExitStack()
        self.watches: dict[str, Supervisor] = {}
        self.services: dict[str, Service] = {}
        self._contained: list[Server] = []  # an engine's, not ours to watch
        self._port: int | None = None
        self._is_up = False

    @property
    def page(self) -> str:
        """URL of the balancer."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def gateways(self) -> list[str]:
        """URL of each gateway."""
        return [f"http://127.0.0.1:{one.port}" for one in self.services.values() if one.kind == "gateway"]

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        return self._servers.kafka

    def postgres(self, role: str = "owner") -> str:
        """URL of the database for a role."""
        return self._servers.postgres(role)

    @property
    def demo_secret(self) -> str:
        """What tokens are signed with."""
        return demo_secret(self.place)

    @property
    def redis(self) -> str:
        """URL of Redis."""
        return self._servers.redis()

    async def start(self) -> None:
        """Bring everything up, and wait until the page answers.

        Raises:
            Trouble: something did not come up; nothing is left running.
        """
        self._locks.enter_context(self.place.locked())
        try:
            self._note()
            self._servers = Servers(self.place, durable=self.plan.durable)
            self._port = page_port(self.plan.port)
            await self._bring_servers()
            self._start_services()
            await self._wait_until_ready()
        except BaseException as error:
            await self.stop()
            if trouble := _trouble_in(error):
                raise trouble from error
            raise
        self._is_up = True
        self._note()

    async def stop(self) -> None:
        """Stop everything, from the page to the servers."""
        for kinds in _STOP_ORDER:
            mine = [watch for name, watch in self.watches.items() if kind_of(name) in kinds]
            await asyncio.gather(*(watch.stop() for watch in mine))
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in self._contained))
        self._is_up = False
        ClusterState.forget(self.place)
        self._locks.close()

    def state(self) -> ClusterState:
        """Addresses and process ids of now."""
        if not self._is_up:
            return ClusterState(supervisor=os.getpid())
        pids: dict[str, list[int]] = {}
        for name, watch in self.watches.items():
            pids.setdefault(kind_of(name), []).extend([watch.child.pid] if watch.child.pid else [])
        return ClusterState(
            page=self.page,
            gateways=self.gateways,
            kafka=self.kafka,
            postgres=self.postgres("analyst"),
            redis=self.redis,
            pids=pids,
            supervisor=os.getpid(),
        )

    def _say(self, text: str) -> None:
        self._steps.say(text)
        self._note()

    def _note(self) -> None:
        self.state().write(self.place)

    async def _bring_servers(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bring("redis"))
            group.create_task(self._bring("postgres", self._migrate))
            group.create_task(self._bring("kafka", self._create_topics))
            if self.plan.page:
                group.create_task(self._build_page())

    async def _bring(self, name: str, then: Callable[[], Awaitable[None]] | None = None) -> None:
        if server := self._servers.started.get(name):
            with self._steps.step(_LABELS[name]) as progress:
                await asyncio.to_thread(server.prepare, progress)
                server.start()
                if own := self._servers.own.get(name):
                    self.watches[name] = Supervisor(own.child, self._say)
                else:
                    self._contained.append(server)
                await asyncio.to_thread(server.ready)
                if own:
                    self.watches[name].watch()
        if then:
            await then()

    async def _migrate(self) -> None:
        with self._steps.step("Tables"):
            await migrate(self.postgres("owner"))

    async def _create_topics(self) -> None:
        if not self.plan.yours:
            with self._steps.step("Topics"):
                await self.plan.topics.create(self._servers.broker)

    async def _build_page(self) -> None:
        page = PageBuild(self.place)
        if page.is_new:
            return
        with self._steps.step("Page (npm, Angular)"):
            try:
                await asyncio.to_thread(page.build)
            except asyncio.CancelledError:
                page.give_up()
                raise

    def _start_services(self) -> None:
        assert self._port
        for one in services(self.place, self.plan, self._servers, self._port):
            self.services[one.name] = one
            self._watch(one.name, one.child, once=one.kind == "feed")
        ports = [one.port for one in self.services.values() if one.kind == "gateway"]
        feed = self.services.get("feed-1")
        self._watch("balancer", balancer(self.place, self._port, ports, feed.port if feed else None))

    def _watch(self, name: str, child: ChildProcess, *, once: bool = False) -> None:
        self.watches[name] = Supervisor(child, self._say, once=once)
        self.watches[name].start()

    async def _wait_until_ready(self) -> None:
        with self._steps.step("Services"):
            try:
                async with asyncio.timeout(_READY):
                    for one in self.services.values():
                        await self._wait_for(one)
                    while not await answers(self._port or 0, ready.PATH):  # noqa: ASYNC110 - HTTP tells only who asks
                        await asyncio.sleep(_POLL)
            except TimeoutError:
                missing = [one.name for one in self.services.values() if not await one.is_ready()]
                raise StackError(
                    f"not ready after {_READY:.0f} s: {', '.join(missing) or 'the balancer'} (make logs)"
                ) from None

    async def _wait_for(self, one: Service) -> None:
        while not await one.is_ready():
            if one.child.exit_code == REFUSED:
                raise StackError(how_it_ended(one.child))
            if one.child.exit_code == 0:  # a feed with a limit may be done before anybody asks
                return
            await asyncio.sleep(_POLL)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def kind_of(name: str) -> str:
    """projector of projector-1."""
    return name.partition("-")[0]


def _trouble_in(error: BaseException) -> StackError | None:
    """The first trouble in an error or a group of them, if it is any."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_trouble_in, error.exceptions)), None)
    if isinstance(error, OSError):
        return from_os(error)
    return error if isinstance(error, StackError) else None
