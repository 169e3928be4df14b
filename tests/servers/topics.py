"""Deletes topics of tests."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient

from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.servers.topics import Topics


async def delete_topics(topics: Topics, broker: Broker) -> None:
    """Deletes the topics."""
    names = topics.transfers, topics.balances, topics.lifecycle
    admin = AIOKafkaAdminClient(**broker.options)
    async with asyncio.timeout(30):
        await admin.start()
        try:
            await admin.delete_topics([name for name in names if name])
        finally:
            await admin.close()
