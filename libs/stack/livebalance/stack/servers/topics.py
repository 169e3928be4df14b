"""The two topics, created as `deploy/topics.toml` says.

`python -m livebalance.stack.servers.topics topics.toml` creates them on the broker of LIVEBALANCE_KAFKA.
"""

import asyncio
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.process.run import told
from livebalance.stack.paths import PROJECT

RULES = PROJECT / "deploy" / "topics.toml"
_TOPIC_EXISTS = 36
_SECONDS = 15.0


@dataclass(frozen=True)
class Topics:
    """Names of a pair of topics, and their number of partitions: that of lanes."""

    transfers: str = "transfers"
    balances: str = "account-balances"
    partitions: int = 6

    async def create(self, kafka: Broker, rules: Path = RULES) -> None:
        """Create what is missing, and wait until every partition has a leader.

        Raises:
            RuntimeError: the broker refused.
            TimeoutError: after 15 s.
        """
        wanted = self._wanted(rules)
        async with asyncio.timeout(_SECONDS), _admin(kafka) as admin:
            answer = await admin.create_topics(wanted)
            for name, code, reason, *_ in answer.topic_errors:
                if code not in (0, _TOPIC_EXISTS):
                    raise RuntimeError(f"topic {name}: {reason} ({code})")
            for name in (self.transfers, self.balances):
                while not await self._is_led(admin, name):  # noqa: ASYNC110 - the broker tells nobody
                    await asyncio.sleep(0.02)

    async def delete(self, kafka: Broker) -> None:
        """Delete both."""
        async with asyncio.timeout(_SECONDS), _admin(kafka) as admin:
            await admin.delete_topics([self.transfers, self.balances])

    def _wanted(self, rules: Path) -> list[NewTopic]:
        configs = tomllib.loads(rules.read_text())
        return [
            NewTopic(name, self.partitions, 1, topic_configs=configs[rule])
            for name, rule in ((self.transfers, "transfers"), (self.balances, "account-balances"))
        ]

    async def _is_led(self, admin: AIOKafkaAdminClient, name: str) -> bool:
        [topic] = await admin.describe_topics([name])
        return topic["error_code"] == 0 and all(part["leader"] >= 0 for part in topic["partitions"])


@asynccontextmanager
async def _admin(kafka: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**kafka.options)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


if __name__ == "__main__":
    settings = told(ServiceSettings)
    topics = Topics(settings.transfers_topic, settings.balances_topic)
    asyncio.run(topics.create(settings.broker, Path(sys.argv[1])))
