"""Creates the topics with the settings in `deploy/topics.toml`.

`python -m livebalance.stack.servers.topics topics.toml` creates them on the broker of LIVEBALANCE_KAFKA.
"""

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.process.run import CommandLine, load_settings
from livebalance.stack.paths import PROJECT

RULES = PROJECT / "deploy" / "topics.toml"
_TOPIC_EXISTS = 36
_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class Topics:
    """The names of the topics, and the number of partitions of each, which is the number of lanes."""

    transfers: str = "transfers"
    balances: str = "account-balances"
    partitions: int = 6
    lifecycle: str = ""  # empty: there is no such topic

    async def create(self, kafka: Broker, rules: Path = RULES) -> None:
        """Creates the topics that are missing, and waits until every partition has a leader.

        Raises:
            RuntimeError: the broker refused to create a topic.
            TimeoutError: after 15 s.
        """
        async with asyncio.timeout(_TIMEOUT_SECONDS), _admin(kafka) as admin:
            response = await admin.create_topics(self._new_topics(rules))
            for name, code, reason, *_ in response.topic_errors:
                if code not in (0, _TOPIC_EXISTS):
                    raise RuntimeError(f"topic {name}: {reason} ({code})")
            for name, _ in self._names():
                while not await _has_leaders(admin, name):  # noqa: ASYNC110 - no event to wait for
                    await asyncio.sleep(0.02)

    def _new_topics(self, rules: Path) -> list[NewTopic]:
        configs = tomllib.loads(rules.read_text())
        return [
            NewTopic(name, self.partitions, 1, topic_configs=configs[rule]) for name, rule in self._names()
        ]

    def _names(self) -> list[tuple[str, str]]:
        """Returns the name of each topic, and its name in the rules."""
        names = [(self.transfers, "transfers"), (self.balances, "account-balances")]
        return [*names, (self.lifecycle, "account-lifecycle")] if self.lifecycle else names


async def _has_leaders(admin: AIOKafkaAdminClient, name: str) -> bool:
    [topic] = await admin.describe_topics([name])
    return topic["error_code"] == 0 and all(partition["leader"] >= 0 for partition in topic["partitions"])


@asynccontextmanager
async def _admin(kafka: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**kafka.options)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


if __name__ == "__main__":
    parser = CommandLine(ServiceSettings)
    parser.add_argument("rules", type=Path, help="the file deploy/topics.toml")
    rules = parser.parse_args().rules
    settings = load_settings(ServiceSettings)
    topics = Topics(settings.transfers_topic, settings.balances_topic, lifecycle=settings.lifecycle_topic)
    asyncio.run(topics.create(settings.broker, rules))
