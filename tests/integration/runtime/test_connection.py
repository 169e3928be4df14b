"""Clients of Kafka, which must not leave a connection open."""

import asyncio

from aiokafka.client import AIOKafkaClient, ConnectionGroup

from livebalance.runtime.kafka import connection


async def test_client_closed_while_it_opens_a_connection_leaves_none_open(kafka: str) -> None:
    client = AIOKafkaClient(**connection.Broker(kafka).options)
    await client.bootstrap()
    [broker] = client.cluster.brokers()
    opening = asyncio.create_task(client._get_conn(broker.nodeId, group=ConnectionGroup.COORDINATION))
    while not client._get_conn_lock.locked():  # noqa: ASYNC110 - no event to wait for
        await asyncio.sleep(0)
    await client.close()
    opened = await asyncio.wait_for(opening, 30)
    assert not opened.connected()
