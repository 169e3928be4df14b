"""How to connect to Kafka: brokers, TLS and SASL."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
        # Changes aiokafka's clients. Every process imports this file, but not every process uses Kafka.
        from livebalance.runtime.kafka import client  # noqa: F401, PLC0415

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
