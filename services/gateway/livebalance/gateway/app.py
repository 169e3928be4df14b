"""A gateway put together: Postgres, Redis, sockets, REST, the page; and how it goes away."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from uvicorn.server import ServerState

from livebalance.gateway import VERSION
from livebalance.gateway.api import openapi, problems, rest, sse
from livebalance.gateway.api.access_log import AccessLogMiddleware
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.sse import StreamContext
from livebalance.gateway.api.static import SecurityHeadersMiddleware, SinglePageApp
from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.credentials import Credentials
from livebalance.gateway.limits.connections import ConnectionLimits, TrustedProxies
from livebalance.gateway.live.session import SessionLimits
from livebalance.gateway.live.sessions import SessionConfig
from livebalance.gateway.relay import Relay
from livebalance.gateway.server.handshake import Handshake
from livebalance.gateway.server.http import HttpLimits, HttpProtocol
from livebalance.gateway.server.request_head import RequestRules
from livebalance.gateway.server.tcp import TransportTimeouts
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.gateway.settings import Settings
from livebalance.readmodel.gateway_reads import SETTINGS
from livebalance.runtime import logs
from livebalance.runtime.metrics import TYPE
from livebalance.wire.frame import MAX_CLIENT_FRAME, Limits

_log = logs.get("gateway")

Pool = "asyncpg.Pool[asyncpg.Record]"


def terms(settings: Settings) -> SessionConfig:
    return SessionConfig(
        gateway=settings.name,
        version=VERSION,
        heartbeat_ms=int(settings.heartbeat_interval_seconds * 1000),
        limits=Limits(
            MAX_CLIENT_FRAME,
            settings.max_subscriptions,
            settings.recovery_max_revisions,
            settings.message_rate,
            settings.max_connections_per_address,
            settings.max_connections_per_user,
        ),
        outbox_bytes=settings.client_queue_bytes,
        house=ConnectionLimits(
            settings.max_connections,
            settings.connection_rate,
            settings.max_connections_per_address,
            settings.connection_rate_per_address,
        ),
        manners=SessionLimits(settings.message_rate),
        per_user=settings.max_connections_per_user,
        auth_within=settings.auth_timeout_seconds,
        age=settings.max_connection_age_seconds,
        features=("demo",) if settings.demo_secret else (),
    )


def credentialed(settings: Settings) -> Credentials:
    """In a demo the page may also be looked at where this gateway itself listens."""
    here = {f"http://127.0.0.1:{settings.http_port}"} if settings.demo_secret else set()
    return Credentials(settings.token_cookie, here | set(settings.allowed_origins))


def patient(settings: Settings) -> TransportTimeouts:
    return TransportTimeouts(
        settings.ping_interval_seconds,
        settings.write_timeout_seconds,
        send_buffer=settings.send_buffer_bytes,
        assembly=settings.message_timeout_seconds,
    )


def application(
    settings: Settings, pool: "asyncpg.Pool[asyncpg.Record]", relay: Relay, authority: Authenticator
) -> FastAPI:
    app = FastAPI(
        title="Livebalance",
        version=VERSION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    openapi.install(app, settings.token_cookie)
    problems.install(app)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(AccessLogMiddleware, proxies=TrustedProxies(settings.trusted_proxies))
    guard = RequestAuth(credentialed(settings), authority)
    app.include_router(rest.routes(pool, guard))
    app.include_router(
        sse.routes(StreamContext(relay, patient(settings), TrustedProxies(settings.trusted_proxies)), guard)
    )

    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        if why := relay.not_ready():
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", why)
        return PlainTextResponse("ok\n")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(relay.shown(), media_type=TYPE)

    @app.get("/api/{rest:path}", include_in_schema=False)
    async def nothing(rest: str) -> Response:
        raise HTTPException(404)

    if settings.page_directory:
        app.mount("/", SinglePageApp(directory=settings.page_directory, html=True))
    return app


class GatewayServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service drains before it stops

    def abandon(self) -> None:
        """Drops whoever is still connected. A loop does not close while something of it is open."""
        for listener in self.servers if self.started else ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def server(settings: Settings, app: FastAPI, relay: Relay) -> GatewayServer:
    patience = patient(settings)
    proxies = TrustedProxies(settings.trusted_proxies)
    hosts = frozenset(host.lower() for host in settings.allowed_hosts)
    rules = RequestRules(hosts, settings.require_tls, proxies)
    entrance = Handshake(rules, credentialed(settings))
    threshold = HttpLimits(rules, settings.request_head_timeout_seconds, relay.crowded)

    def socket(
        config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> WebSocketConnection:
        return WebSocketConnection(relay, entrance, patience, server_state)

    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        http=partial(HttpProtocol, threshold=threshold),  # type: ignore[arg-type]  # called like a class, as is the next
        ws=socket,  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who a client is, is told from the settings' proxies alone
        timeout_graceful_shutdown=2,
    )
    return GatewayServer(config)


async def _as_it_is(_: object) -> None:
    """What a gateway says to Postgres leaves nothing behind on a connection; to reset it is a round trip."""


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serves until `stopping`; then drains, and returns."""
    async with asyncpg.create_pool(
        settings.postgres.get_secret_value(),
        min_size=0,
        max_size=settings.postgres_pool_size,
        timeout=settings.postgres_timeout_seconds,
        command_timeout=settings.postgres_timeout_seconds,
        reset=_as_it_is,
        server_settings={"application_name": settings.name, **SETTINGS},
    ) as pool:
        authority = Authenticator(settings, pool)
        relay = Relay(settings, pool, terms(settings), authority)
        http = server(settings, application(settings, pool, relay, authority), relay)
        try:
            async with asyncio.TaskGroup() as group:
                parts = group.create_task(relay.serve())
                listening = group.create_task(http.serve())
                await stopping.wait()
                _log.info("draining")
                await relay.drain(settings.drain_delay_seconds, settings.drain_period_seconds)
                http.should_exit = True
                await listening
                parts.cancel()
        finally:
            http.abandon()
