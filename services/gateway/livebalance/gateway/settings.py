"""Settings of a gateway; times in seconds, sizes in bytes."""

from pathlib import Path

from pydantic import SecretStr

from livebalance.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    name: str = "gateway"
    http_port: int = 8000
    postgres: str = "postgresql://gateway@127.0.0.1:5432/livebalance"
    page: Path | None = None  # directory of the built page

    # Who may come: tokens are checked with these keys. Without any, a gateway does not start.
    jwks: SecretStr | None = None  # a JSON Web Key Set: oct (HS256), RSA (RS256), EC (ES256)
    jwks_url: str | None = None  # where more of it is published, without secrets
    audience: str = "livebalance"
    issuer: str | None = None
    demo_secret: SecretStr | None = None  # demo mode: the feed gives a token to whoever asks
    cookie: str = "livebalance"  # its value is a token
    origins: tuple[str, ...] = ()  # of pages that may use the cookie, and open sockets from elsewhere
    auth_within: float = 5.0
    revocations_period: float = 2.0  # between looks at what was taken back
    sockets_per_user: int = 10
    hosts: tuple[str, ...] = ()  # names (and ports) that are ours, in the Host of a request; none: any
    tls_only: bool = False  # only what a proxy of ours got by TLS (X-Forwarded-Proto)
    head_within: float = 5.0  # a request's head must have come

    heartbeat: float = 10.0
    subscriptions: int = 128  # of one session
    messages_per_second: float = 10.0  # of one session, over time; three times as many at once
    sockets: int = 20_000
    new_sockets: float = 1000.0  # a second, over time; so many at once would stop the others
    sockets_per_address: int = 200
    new_sockets_per_address: float = 20.0  # a second, over time; twice as many at once
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")  # whose word (X-Forwarded-For) is taken for an address
    resume_max: int = 10_000  # revisions behind, beyond which a snapshot answers
    page_rows: int = 200  # transfers in one delta of a resume; so many fit an outbox
    outbox_bytes: int = 64 * 1024
    trail_bytes: int = 64 * 1024 * 1024  # of what was relayed lately, for those who come back
    send_buffer_bytes: int = 128 * 1024  # the kernel's, of one socket
    assembly: float = 10.0  # a message that began must have ended
    ping_period: float = 20.0
    no_progress: float = 120.0  # while data waits, before a connection is aborted

    audit_period: float = 5.0
    probe_period: float = 5.0
    read_deadline: float = 5.0
    reads_per_second: int = 5_000  # of accounts: repairs, resumes and joins together
    reads_waiting: int = 20_000  # resumes, and as many joins; who would be one more is told to come back
    connections: int = 6  # to Postgres: two for reads of accounts, one for audits, the rest for REST

    drain: float = 5.0  # over which clients are asked to come back elsewhere
