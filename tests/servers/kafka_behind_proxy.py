"""A Kafka broker with a second address, which leads through a proxy."""

from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.servers.kafka import KafkaServer


class ProxiedKafkaServer(KafkaServer):
    """A broker that tells clients of `proxied` to connect to `proxy`, also for each partition."""

    def __init__(self, paths: StatePaths) -> None:
        super().__init__(paths)
        self.proxied, self.proxy = free_port(), free_port()

    def _broker_properties(self, controller: int) -> dict[str, str]:
        properties = super()._broker_properties(controller)
        for name, port in (("listeners", self.proxied), ("advertised.listeners", self.proxy)):
            properties[name] += f",PROXIED://127.0.0.1:{port}"
        properties["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
        properties["inter.broker.listener.name"] = "PLAINTEXT"
        return properties
