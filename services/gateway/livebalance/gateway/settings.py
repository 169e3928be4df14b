"""Settings of a gateway; times in seconds, sizes in bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from livebalance.gateway.limits.connections import TrustedProxies
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Count, Port, Postgres, Seconds, Texts

Published = Annotated[str, Field(pattern=r"^https?://", examples=["https://host/path"])]
Rate = Annotated[float, Field(gt=0)]  # a second, over time


class Settings(ServiceSettings):
    """Who may come is said by keys that tokens are checked with: without any, a gateway does not start."""

    name: str = "gateway"
    http_port: Port = 8000
    """Where sockets, REST, events, the page, `/livez`, `/readyz` and `/metrics` are."""
    postgres: Postgres = SecretStr("postgresql://gateway@127.0.0.1:5432/livebalance")
    """Where the projection is, for a member of the role `gateway`."""
    page_directory: Path | None = None
    """Directory of the built page; none: there is no page."""

    jwks: SecretStr | None = None
    """A JSON Web Key Set that tokens are checked with: oct (HS256), RSA (RS256), EC (ES256)."""
    jwks_url: Published | None = None
    """Where more of it is published, without secrets."""
    token_audience: str = "livebalance"
    """Whom a token has to be for (claim `aud`)."""
    token_issuer: str | None = None
    """Whose tokens are taken (claim `iss`)."""
    demo_secret: SecretStr | None = None
    """Demo mode: the feed gives a token to whoever asks."""
    token_cookie: str = "livebalance"
    """Name of the cookie whose value is a token."""
    allowed_origins: Texts = ()
    """Of pages that may use the cookie, and open sockets from elsewhere."""
    auth_timeout_seconds: Seconds = 5.0
    """How long a socket may take to say who it is."""
    revocation_poll_seconds: Seconds = 2.0
    """Between looks at what was taken back."""
    max_connections_per_user: Count = 10
    """At once, of one user."""
    allowed_hosts: Texts = ()
    """Names (and ports) that are ours, in the Host of a request; none: any."""
    require_tls: bool = False
    """Take only what a proxy of ours got by TLS (X-Forwarded-Proto)."""
    request_head_timeout_seconds: Seconds = 5.0
    """How long a request's head may take to come."""

    heartbeat_interval_seconds: Seconds = 10.0
    """Between two heartbeats to a client."""
    max_subscriptions: Count = 128
    """Of one session, at most."""
    message_rate: Rate = 10.0
    """Of one session, over time; three times as many at once."""
    max_connections: Count = 20_000
    """Of this gateway, at most."""
    connection_rate: Rate = 1000.0
    """A second, over time; so many at once would stop the others."""
    max_connections_per_address: Count = 200
    """Of one address, at most."""
    connection_rate_per_address: Rate = 20.0
    """A second, over time; twice as many at once."""
    max_connection_age_seconds: Seconds | None = None
    """After which a socket or stream is asked to come back, so that new gateways fill: this long, or up to a
    fifth less, by chance; none: never."""
    trusted_proxies: Texts = ("127.0.0.1", "::1")
    """Whose word (X-Forwarded-For) is taken for an address; networks too, as 10.0.0.0/8."""
    recovery_max_revisions: Annotated[int, Field(ge=0)] = 10_000
    """Revisions behind, beyond which a snapshot answers."""
    recovery_page_rows: Count = 200
    """Transfers in one delta of a resume; so many fit an outbox."""
    client_queue_bytes: Count = 64 * 1024
    """What may wait for one client; more is forgotten and read again."""
    history_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """Of what was relayed lately, for those who come back."""
    send_buffer_bytes: Count = 128 * 1024
    """The kernel's, of one socket."""
    message_timeout_seconds: Seconds = 10.0
    """A message that began must have ended."""
    ping_interval_seconds: Seconds = 20.0
    """Between two pings of a socket."""
    write_timeout_seconds: Seconds = 120.0
    """While data waits, before a connection is aborted."""

    audit_interval_seconds: Seconds = 5.0
    """Within which every followed account is compared with Postgres."""
    redis_probe_interval_seconds: Seconds = 5.0
    """Between two messages to ourselves through Redis: it may be deaf without an error."""
    postgres_timeout_seconds: Seconds = 5.0
    """How long a statement may wait for Postgres."""
    read_rate: Count = 5_000
    """Of accounts: repairs, resumes and joins together."""
    max_queued_reads: Count = 20_000
    """Resumes, and as many joins; who would be one more is told to come back."""
    postgres_pool_size: Count = 6
    """To Postgres: two for reads of accounts, one for audits, the rest for REST."""

    drain_delay_seconds: Annotated[float, Field(ge=0)] = 2.0
    """Told to stop: how long `/readyz` says no, and who comes is let in, before anyone is asked to go."""
    drain_period_seconds: Annotated[float, Field(ge=0)] = 5.0
    """After the notice: over which clients are asked to come back elsewhere."""

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, told: tuple[str, ...]) -> tuple[str, ...]:
        try:
            TrustedProxies(told)
        except ValueError:
            raise ValueError('should be addresses or networks, such as ["10.0.0.0/8"]') from None
        return told

    def refusals(self) -> Iterator[str]:
        """Not those of Kafka's certificates: a gateway does not speak with Kafka."""
        # Whoever wants our names alone, as all services do, need not have what checks signatures.
        from livebalance.gateway.auth.config import refusals  # noqa: PLC0415

        return refusals(self)
