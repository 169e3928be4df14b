"""How Kafka is reached: where it is, whom we trust there, and who we say we are."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Login(NamedTuple):
    """A user of SASL."""

    mechanism: Mechanism
    user: str
    password: str


class Broker(NamedTuple):
    """`servers` as host:port, with commas between; in the clear without `tls`, as nobody without `login`."""

    servers: str
    tls: ssl.SSLContext | None = None
    login: Login | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword arguments that every client of aiokafka takes."""
        protocol = ("SASL_" if self.login else "") + ("SSL" if self.tls else "PLAINTEXT")
        told = {"bootstrap_servers": self.servers, "security_protocol": protocol, "ssl_context": self.tls}
        if self.login is None:
            return told
        return {
            **told,
            "sasl_mechanism": self.login.mechanism,
            "sasl_plain_username": self.login.user,
            "sasl_plain_password": self.login.password,
        }


def trusting(ca: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """TLS with the authorities in `ca`, else this system's; the broker's name is checked.

    With a certificate of our own (and its key, if it is not in the same file) we say who we are by it.
    Raises OSError: a file is not there, or holds no certificate (ssl.SSLError).
    """
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context
