"""An embedded Kafka broker with TLS, SCRAM and PLAIN users, and client certificates."""

from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from livebalance.runtime.kafka.connection import Broker, Login, Mechanism, tls_context
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.servers.kafka import KafkaServer

_PROPERTIES = """\
listeners={listeners}
advertised.listeners={listeners}
listener.security.protocol.map=USERS:SASL_SSL,CERTIFIED:SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INTERNAL
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.users.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.users.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.users.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{user}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={server}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.certified.ssl.client.auth=required
"""

_MODULES = "org.apache.kafka.common.security"
USER, PASSWORD = "livebalance", "of-the-stack-only"


class Certificates(NamedTuple):
    """PEM files: the certificate authority, and the certificates of broker and client with their keys."""

    authority: Path
    server: Path
    client: Path


class SecureKafkaServer(KafkaServer):
    """A broker. `address` requires TLS and a user, `certified` requires a client certificate."""

    def __init__(self, paths: StatePaths) -> None:
        super().__init__(paths)
        self.certificates = _certificates(paths.directory("certificates"))
        self.address = self.certified = ""

    def user_broker(self, mechanism: Mechanism = "SCRAM-SHA-512", password: str = PASSWORD) -> Broker:
        """Returns the connection options of the SASL user."""
        return Broker(
            self.address, tls_context(self.certificates.authority), Login(mechanism, USER, password)
        )

    def _broker_properties(self, controller: int) -> dict[str, str]:
        properties = super()._broker_properties(controller)
        self.address, certified = f"127.0.0.1:{self.port}", free_port()
        self.certified = f"127.0.0.1:{certified}"
        ports = {
            "USERS": self.port,
            "CERTIFIED": certified,
            "INTERNAL": free_port(),
            "CONTROLLER": controller,
        }
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        lines = _PROPERTIES.format(
            listeners=listeners,
            modules=_MODULES,
            user=USER,
            password=PASSWORD,
            server=self.certificates.server,
            authority=self.certificates.authority,
        ).splitlines()
        return properties | dict(line.split("=", 1) for line in lines)

    def _format_options(self) -> list[str]:
        return [
            f"--add-scram={mechanism}=[name={USER},password={PASSWORD}]"
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]


def _certificates(directory: Path) -> Certificates:
    certificates = Certificates(*(directory / f"{name}.pem" for name in Certificates._fields))
    if not certificates.client.exists():
        authority = trustme.CA()
        authority.cert_pem.write_to_path(certificates.authority)
        certificates.server.write_bytes(_pem(authority.issue_cert("127.0.0.1")))
        certificates.client.write_bytes(_pem(authority.issue_cert("client@localhost")))
    return certificates


def _pem(certificate: trustme.LeafCert) -> bytes:
    """Returns the certificate and its key, which Java reads as PKCS 8."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain
