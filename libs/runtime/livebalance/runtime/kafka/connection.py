"""How to connect to Kafka: brokers, TLS and SASL."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from aiokafka.client import AIOKafkaClient

from livebalance.runtime.kafka import raw_records  # noqa: F401 - consumers return RawRecords from here on

_START_SECONDS = 1.0

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Login(NamedTuple):
    """A SASL login."""

    mechanism: Mechanism
    user: str
    password: str


class Broker(NamedTuple):
    """Brokers to connect to first (host:port, separated by commas), and how to connect."""

    servers: str
    tls: ssl.SSLContext | None = None  # None: plain text
    login: Login | None = None  # None: no login

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword arguments for every aiokafka client."""
        protocol = ("SASL_" if self.login else "") + ("SSL" if self.tls else "PLAINTEXT")
        options = {"bootstrap_servers": self.servers, "security_protocol": protocol, "ssl_context": self.tls}
        if self.login is None:
            return options
        return {
            **options,
            "sasl_mechanism": self.login.mechanism,
            "sasl_plain_username": self.login.user,
            "sasl_plain_password": self.login.password,
        }


class Startable(Protocol):
    """A client of aiokafka."""

    async def start(self) -> None:
        """Connects."""


async def start_client(client: Startable) -> None:
    """Starts a client. The caller stops it, also after an error.

    A start that is cancelled would leave a connection open, because aiokafka does not know the connection
    yet. So a cancelled caller waits for the start to end, at most a second.
    """
    starting = asyncio.ensure_future(client.start())
    starting.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting], timeout=_START_SECONDS)
        starting.cancel()
        raise


_close = AIOKafkaClient.close


async def _close_after_connecting(client: AIOKafkaClient) -> None:
    """Closes a client, but not while it opens a connection, which would stay open: it is not listed yet."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS), client._get_conn_lock:
            pass
    await _close(client)


AIOKafkaClient.close = _close_after_connecting


def tls_context(ca: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Returns a TLS context that verifies the server's certificate and host name.

    Args:
        ca: PEM file of certificate authorities. None: those of the system.
        certificate: PEM file of the client certificate. None: no client certificate.
        key: PEM file of the client certificate's key. None: the certificate's file contains it.

    Raises:
        OSError: A file does not exist, or contains no certificate (ssl.SSLError).
    """
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context
