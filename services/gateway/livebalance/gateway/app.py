"""Builds and runs a gateway: Postgres pool, relay, HTTP server, and the drain at its end."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response
from uvicorn.server import ServerState

from livebalance.gateway import VERSION, open_files
from livebalance.gateway.api import openapi, problems, reference, rest, sse
from livebalance.gateway.api.access_log import AccessLogMiddleware
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.budgets import BudgetMiddleware
from livebalance.gateway.api.sse import StreamContext
from livebalance.gateway.api.static import SecurityHeadersMiddleware, SinglePageApp
from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.credentials import Credentials
from livebalance.gateway.connections import Connections
from livebalance.gateway.limits.budgets import RequestBudgets, RequestLimits
from livebalance.gateway.limits.client_address import Address, TrustedProxies
from livebalance.gateway.limits.connections import ConnectionLimits
from livebalance.gateway.live.session import SessionLimits
from livebalance.gateway.live.sessions import SessionConfig
from livebalance.gateway.relay import Relay
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.gateway.server.handshake import Handshake
from livebalance.gateway.server.http import HttpLimits, HttpProtocol
from livebalance.gateway.server.request_head import RequestRules
from livebalance.gateway.server.tcp import TransportTimeouts
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.gateway.settings import Settings
from livebalance.readmodel.gateway_reads import SETTINGS
from livebalance.runtime import logs
from livebalance.runtime.process import health
from livebalance.wire.frame import MAX_CLIENT_FRAME, PATCHES, Limits

_log = logs.get("gateway")


def session_config(settings: Settings) -> SessionConfig:
    """Returns what every client gets in its welcome, and its limits."""
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
            settings.max_sets,
            settings.max_set_accounts,
        ),
        client_queue_bytes=settings.client_queue_bytes,
        connection_limits=ConnectionLimits(
            settings.max_connections,
            settings.connection_rate,
            settings.max_connections_per_address,
            settings.connection_rate_per_address,
        ),
        session_limits=SessionLimits(settings.message_rate),
        max_connections_per_user=settings.max_connections_per_user,
        auth_timeout=settings.auth_timeout_seconds,
        max_age=settings.max_connection_age_seconds,
        check_interval=settings.ping_interval_seconds,
        features=(
            PATCHES,
            *(("demo",) if settings.demo_secret else ()),
            *(("sets",) if settings.max_sets else ()),
        ),
    )


def credentials(settings: Settings) -> Credentials:
    """Returns the check of tokens and origins. A demo also allows this gateway's own origin."""
    hosts = ("127.0.0.1", settings.http_host) if settings.demo_secret else ()
    own = {f"http://{host}:{settings.http_port}" for host in hosts}
    return Credentials(settings.token_cookie, own | set(settings.allowed_origins))


def transport_timeouts(settings: Settings) -> TransportTimeouts:
    """Returns the timeouts and buffer sizes of WebSockets and event streams."""
    return TransportTimeouts(
        settings.ping_interval_seconds,
        settings.write_timeout_seconds,
        send_buffer=settings.send_buffer_bytes,
        message_timeout=settings.message_timeout_seconds,
    )


def create_app(
    settings: Settings,
    pool: "asyncpg.Pool[asyncpg.Record]",
    connections: Connections,
    authenticator: Authenticator,
) -> FastAPI:
    """Returns the ASGI application: REST, event streams and the page, not WebSockets."""
    app = FastAPI(
        title="Livebalance",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    auth, proxies = (
        RequestAuth(credentials(settings), authenticator),
        TrustedProxies(settings.trusted_proxies),
    )
    budgets = RequestBudgets(RequestLimits(settings.request_rate_per_user, settings.max_requests_per_user))
    app.add_middleware(BudgetMiddleware, auth=auth, budgets=budgets, trusted_proxies=proxies)
    openapi.install(app, settings.token_cookie)
    reference.install(app)
    problems.install(app, auth.require_rights_to_send)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(AccessLogMiddleware, trusted_proxies=proxies)
    app.include_router(rest.routes(pool, auth))
    app.include_router(sse.routes(StreamContext(connections, transport_timeouts(settings)), auth))

    # The paths of the operations port do not lead to the page.
    @app.get("/livez", include_in_schema=False)
    @app.get("/readyz", include_in_schema=False)
    @app.get("/metrics", include_in_schema=False)
    @app.get("/api/{rest:path}", include_in_schema=False)
    async def unknown_path() -> Response:
        raise HTTPException(404)

    if settings.page_directory:
        app.mount("/", SinglePageApp(directory=settings.page_directory, html=True))
    return app


class GatewayServer(uvicorn.Server):
    """uvicorn without signal handlers: the gateway drains before it stops."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Called by uvicorn while it serves. Captures no signals."""
        yield

    def not_listening(self) -> str | None:
        """Returns why clients cannot connect yet; None after the port was opened."""
        return None if self.started else "the port is not open yet"

    def stop_accepting(self) -> None:
        """Closes the port and the connections without a client: a balancer then uses another gateway."""
        for listener in self.servers if self.started else ():
            listener.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.end_keep_alive()

    def abort_connections(self) -> None:
        """Aborts the remaining connections. The event loop does not close while a transport is open."""
        self.stop_accepting()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def create_server(settings: Settings, app: FastAPI, connections: Connections) -> GatewayServer:
    """Returns the HTTP server: it serves WebSockets itself (decision 5), and other requests with `app`."""
    timeouts = transport_timeouts(settings)
    proxies = TrustedProxies(settings.trusted_proxies)
    hosts = frozenset(host.lower() for host in settings.allowed_hosts)
    rules = RequestRules(hosts, settings.require_tls, proxies)
    handshake = Handshake(rules, credentials(settings))
    encoder = FrameEncoder()
    files = open_files.raise_limit()
    limits = HttpLimits(
        rules,
        settings.request_head_timeout_seconds,
        settings.write_timeout_seconds,
        connections.admission,
        partial(open_files.max_without_client, files, settings.max_connections),
        open_files.max_rejected(files),
        set(),
    )

    def websocket(
        config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], peer: Address
    ) -> WebSocketConnection:
        return WebSocketConnection(connections, handshake, timeouts, server_state, encoder, peer=peer)

    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        http=partial(HttpProtocol, limits=limits),  # type: ignore[arg-type]  # uvicorn calls both like a class
        ws=websocket,  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # only LIVEBALANCE_TRUSTED_PROXIES decides which proxy is believed
        timeout_graceful_shutdown=2,
    )
    return GatewayServer(config)


def within_open_files(settings: Settings) -> Settings:
    """Returns the settings with at most as many connections as files may be open.

    A gateway without a free file answers nobody: no client, and no probe of its operations port.
    """
    files = open_files.raise_limit()
    most = open_files.max_clients(files)
    if settings.max_connections <= most:
        return settings
    _log.info("maximum connections lowered", to=most, wanted=settings.max_connections, open_files=files)
    return settings.model_copy(update={"max_connections": most})


async def _skip_reset(_: object) -> None:
    """Saves asyncpg's reset of a released connection, a round trip. No statement leaves session state."""


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serves until `stopping` is set, then drains and returns. The operations port answers until the end.

    Raises:
        StartupError: The settings have no keys that verify tokens, or invalid keys.
    """
    settings = within_open_files(settings)
    async with asyncpg.create_pool(
        settings.postgres.get_secret_value(),
        min_size=0,
        max_size=settings.postgres_pool_size,
        timeout=settings.postgres_timeout_seconds,
        command_timeout=settings.postgres_timeout_seconds,
        reset=_skip_reset,
        server_settings={"application_name": settings.name, **SETTINGS},
    ) as pool:
        authenticator = Authenticator(
            settings.auth_config(),
            pool,
            poll_seconds=settings.revocation_poll_seconds,
            timeout_seconds=settings.postgres_timeout_seconds,
            max_age_seconds=(
                settings.revocation_outage_seconds if settings.revocation_outage == "close" else math.inf
            ),
        )
        relay = Relay(settings, pool, session_config(settings), authenticator)
        app = create_app(settings, pool, relay.connections, authenticator)
        server = create_server(settings, app, relay.connections)
        operations = health.run_server(
            (settings.http_host, settings.operations_port),
            stopping,
            live=lambda: None,
            ready=lambda: server.not_listening() or relay.not_ready(),
            render_metrics=relay.render_metrics,
        )
        async with operations:
            await _serve_until_drained(settings, relay, server, stopping)


async def _serve_until_drained(
    settings: Settings, relay: Relay, server: GatewayServer, stopping: asyncio.Event
) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            relay_task = group.create_task(relay.serve())
            server_task = group.create_task(server.serve())
            await stopping.wait()
            _log.info("drain started")
            delay, period = settings.drain_delay_seconds, settings.drain_period_seconds
            await relay.connections.drain(delay, period, server.stop_accepting)
            server.should_exit = True
            await server_task
            relay_task.cancel()
    finally:
        server.abort_connections()
