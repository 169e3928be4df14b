"""Settings of a gateway. Times are in seconds and sizes in bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from livebalance.gateway.limits.client_address import TrustedProxies
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Count, Port, Seconds, SecretPostgresUrl, SigningSecret, TextList
from livebalance.wire.signature import SigningKey

if TYPE_CHECKING:
    from livebalance.gateway.auth.config import AuthConfig

HttpUrl = Annotated[str, Field(pattern=r"^https?://", examples=["https://host/path"])]
PerSecond = Annotated[float, Field(gt=0)]


class Settings(ServiceSettings):
    """Settings of a gateway, from LIVEBALANCE_*. A gateway without keys for tokens does not start."""

    name: str = "gateway"
    http_port: Port = 8000
    """Port of WebSockets, REST, events and the page."""
    operations_port: Port = 8001
    """Port of `/livez`, `/readyz` and `/metrics`, which clients must not reach. 0: the gateway does not serve
    them."""
    postgres: SecretPostgresUrl = SecretStr("postgresql://gateway@127.0.0.1:5432/livebalance")
    """URL of the projection's database, for a member of the role `gateway`."""
    page_directory: Path | None = None
    """Directory of the built page. None: the gateway serves no page."""

    jwks: SecretStr | None = None
    """JSON Web Key Set that verifies tokens: oct (HS256), RSA (RS256), EC (ES256). None: only the keys at
    `LIVEBALANCE_JWKS_URL`."""
    jwks_url: HttpUrl | None = None
    """URL of a JSON Web Key Set with more public keys, read every 10 minutes, or sooner if a token names an
    unknown key. Unknown keys cause 3 reads at once, and one in 10 s on average. None: only the keys in
    `LIVEBALANCE_JWKS`."""
    token_audience: str = "livebalance"  # noqa: S105
    """Claim `aud` that a token must have."""
    token_issuer: str | None = None
    """Claim `iss` that a token must have. Required, except in demo mode."""
    demo_secret: SecretStr | None = None
    """Secret of the demo mode, the same as the feed's, at least 32 bytes. Any client gets a token from the
    feed. None: no demo mode. Never set it for real data."""
    token_cookie: str = "livebalance"  # noqa: S105
    """Name of the cookie that may hold the token."""
    allowed_origins: TextList = ()
    """Origins of the pages that may use the cookie, or open WebSockets from another host. Exact: scheme, host
    and port."""
    auth_timeout_seconds: Seconds = 5.0
    """Seconds in which a new WebSocket must authenticate, or the gateway closes it."""
    revocation_poll_seconds: Seconds = 2.0
    """Seconds between two reads of the revocations. Redis announces a revocation sooner, if it works."""
    revocation_outage: Literal["close", "serve"] = "close"
    """Behaviour of a gateway that could not read revocations for `LIVEBALANCE_REVOCATION_OUTAGE_SECONDS`.
    close: it closes all clients, which retry later, and answers REST and streams with 503. serve: it
    continues with the revocations that it knows, until Postgres answers again."""
    revocation_outage_seconds: Seconds = 60.0
    """Seconds without a successful read of the revocations, until `LIVEBALANCE_REVOCATION_OUTAGE` applies.
    Set it above the time that Postgres needs for a failover."""
    max_connections_per_user: Count = 10
    """Maximum concurrent connections of one user."""
    max_requests_per_user: Count = 20
    """Maximum API requests of one user at once, with event streams and requests that wait for a revision. An
    address without a valid token has the same."""
    request_rate_per_user: PerSecond = 20.0
    """API requests per second of one user, on average; twice as many at once. An address without a valid
    token has the same. Raise it if a service reads for many people with one token."""
    allowed_hosts: TextList = ()
    """Hosts that requests may name in their Host header, with or without port. Empty: any."""
    require_tls: bool = False
    """Whether to reject requests that a trusted proxy did not receive over TLS (X-Forwarded-Proto)."""
    request_head_timeout_seconds: Seconds = 5.0
    """Seconds in which a request must arrive. A request with a body is rejected."""

    heartbeat_interval_seconds: Seconds = 10.0
    """Seconds between two heartbeats to a client."""
    max_subscriptions: Count = 128
    """Maximum subscriptions of one connection."""
    message_rate: PerSecond = 10.0
    """Messages per second of one connection, on average; three times as many at once."""
    max_connections: Count = 20_000
    """Maximum connections of this gateway. Each takes an open file: if the process may open fewer files than
    these and 1,000 others, the maximum is lowered when it starts."""
    connection_rate: PerSecond = 1000.0
    """New connections accepted per second, on average; at most 64 at once, so that a burst does not stall
    existing clients."""
    max_connections_per_address: Count = 200
    """Maximum HTTP connections and WebSockets of one client address (IPv6: /64). A trusted proxy has no
    maximum; its requests count for their clients. Raise it if many users share an address."""
    connection_rate_per_address: PerSecond = 20.0
    """New connections accepted per second from one client address, on average; twice as many at once."""
    max_connection_age_seconds: Seconds | None = None
    """Seconds after which a client is asked to reconnect, less up to a fifth by chance. None: never. Set it
    so that clients move to gateways that were added."""
    trusted_proxies: TextList = ("127.0.0.1", "::1")
    """Addresses and networks (such as 10.0.0.0/8) of all proxies in front of the gateway, which are believed
    for X-Forwarded-For and X-Forwarded-Proto. A proxy that is not named is limited like a single client."""
    recovery_max_revisions: Annotated[int, Field(ge=0)] = 10_000
    """Maximum revisions that a resuming client is sent as deltas. A client further behind gets a snapshot. 0:
    every client that missed something gets a snapshot."""
    recovery_page_rows: Count = 200
    """Maximum transfers in one delta of a recovery. Raise it only with `LIVEBALANCE_CLIENT_QUEUE_BYTES`,
    which must hold such a delta."""
    client_queue_bytes: Count = 64 * 1024
    """Maximum bytes of data that wait for one client. Data beyond it is dropped, and read from Postgres
    again."""
    max_sets: Annotated[int, Field(ge=0)] = 4
    """Maximum sets of accounts (`prefix:…`, `client:…`) that a connection may subscribe to. 0: none."""
    max_set_accounts: Count = 10_000
    """Maximum accounts of a set. A set with more is rejected. Each takes about 1 KiB of memory."""
    history_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """Bytes of memory for recently sent frames, which answer resuming clients without Postgres. 0: no
    history."""
    send_buffer_bytes: Count = 128 * 1024
    """Kernel send buffer (SO_SNDBUF) of each connection, in bytes."""
    message_timeout_seconds: Seconds = 10.0
    """Seconds in which a WebSocket message that began must be complete."""
    ping_interval_seconds: Seconds = 20.0
    """Seconds between two checks that a client is still there: a ping, on a WebSocket."""
    write_timeout_seconds: Seconds = 120.0
    """Seconds without progress, while data waits for a client, until its connection is aborted."""

    audit_interval_seconds: Seconds = 5.0
    """Seconds in which every subscribed account is compared with Postgres once. Above 5, a gateway also
    notices later, by the difference, that Postgres is unavailable or a lane stands still."""
    delta_key: SigningSecret | None = None
    """Secret of the projectors (their setting of the same name). Messages that it has not signed are dropped.
    None: every message is accepted. Set it when all projectors have it."""
    delta_key_previous: SigningSecret | None = None
    """Second secret that is accepted, while the secret of the projectors is replaced. None: only one is
    accepted."""
    redis_probe_interval_seconds: Seconds = 5.0
    """Seconds between two probes: messages that the gateway publishes to itself. Redis can stop delivering
    without an error."""
    postgres_timeout_seconds: Seconds = 5.0
    """Seconds that connecting to Postgres may take, and each statement."""
    read_rate: Count = 5_000
    """Account reads per second, on average: repairs, recoveries and new subscriptions together."""
    max_queued_reads: Count = 20_000
    """Maximum queued resume reads, and the same for subscribe reads. Further requests are answered
    `unavailable`."""
    postgres_pool_size: Count = 6
    """Maximum connections to Postgres: two for account reads, one for audits, the rest for REST."""

    drain_delay_seconds: Annotated[float, Field(ge=0)] = 2.0
    """Seconds after SIGTERM during which `/readyz` fails but new clients are still accepted, before the drain
    starts. 0: the drain starts at once."""
    drain_period_seconds: Annotated[float, Field(ge=0)] = 5.0
    """Seconds over which the drain closes the clients that did not reconnect elsewhere by themselves. 0: as
    fast as another gateway with the same `LIVEBALANCE_CONNECTION_RATE` accepts them."""

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        try:
            TrustedProxies(proxies)
        except ValueError:
            raise ValueError('should be addresses or networks, such as ["10.0.0.0/8"]') from None
        return proxies

    def signing_keys(self) -> list[SigningKey]:
        """Returns the keys of messages from Redis. Empty: every message is accepted."""
        secrets = (self.delta_key, self.delta_key_previous)
        return [SigningKey(secret.get_secret_value()) for secret in secrets if secret]

    def auth_config(self) -> "AuthConfig":
        """Returns the settings of token verification."""
        # Imported late: a service that only needs the names of these settings has no PyJWT.
        from livebalance.gateway.auth.config import AuthConfig  # noqa: PLC0415

        return AuthConfig(self.jwks, self.jwks_url, self.token_audience, self.token_issuer, self.demo_secret)

    def startup_errors(self) -> Iterator[str]:
        """Yields the errors of token verification. A gateway does not use the Kafka settings."""
        from livebalance.gateway.auth.config import startup_errors  # noqa: PLC0415

        return startup_errors(self.auth_config())
