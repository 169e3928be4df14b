"""A gateway process behind a Caddy with the shipped Caddyfile, which all attacks of a module share."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.service import responds
from livebalance.stack.servers.balancer import PUBLIC_PATH, balancer
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.servers.database import Database

TIMEOUT = 30.0


@dataclasses.dataclass(frozen=True)
class AttackedStack:
    """What attacks are made on. `http` and `ws` are URLs of the Caddy."""

    gateway: GatewayProcess
    projector: FakeProjector
    database: Database
    paths: StatePaths
    http: str

    @property
    def ws(self) -> str:
        return self.http.replace("http:", "ws:") + "/ws"


@asynccontextmanager
async def caddy(
    paths: StatePaths, upstreams: Sequence[str], operations: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Yields the URL of a Caddy in front of `upstreams`, once it answers.

    The URL `operations` has the operations port of all upstreams.
    """
    port, health_port = free_port(), int(operations.rpartition(":")[2])
    child = balancer(paths, port, upstreams, health_port, None)
    child = dataclasses.replace(child, environment={**child.environment, **(environment or {})})
    child.start()
    try:
        async with asyncio.timeout(TIMEOUT):
            while not await responds(port, PUBLIC_PATH):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop()


@asynccontextmanager
async def attacked_stack(
    database: Database, redis_url: str, paths: StatePaths, settings: Mapping[str, str]
) -> AsyncIterator[AttackedStack]:
    """Yields a gateway with these settings, named without LIVEBALANCE_, behind a Caddy."""
    prefix = f"{database.name}:"
    own = {"postgres": database.url("gateway"), "redis": redis_url, "channel_prefix": prefix, **settings}
    environment = {f"LIVEBALANCE_{name.upper()}": value for name, value in own.items()}
    log: Path = paths.log("gateway")
    async with FakeProjector(database.url("projector"), redis_url, prefix) as projector:
        gateway = GatewayProcess("attacked", free_port(), log, environment)
        try:
            await gateway.start()
            async with caddy(paths, [gateway.http], gateway.operations) as http:
                yield AttackedStack(gateway, projector, database, paths, http)
        finally:
            gateway.end()
