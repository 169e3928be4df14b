"""The servers, topics and databases of tests/conftest.py."""

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from redis.asyncio import Redis

from livebalance.stack.servers.topics import Topics
from tests.servers.database import Database


async def test_kafka_stores_a_record(kafka: str, topics: Topics) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        sent = await producer.send_and_wait(topics.transfers, b"value", key=b"a", partition=2)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        partition = TopicPartition(topics.transfers, 2)
        consumer.assign([partition])
        consumer.seek(partition, sent.offset)
        [record] = (await consumer.getmany(partition, timeout_ms=60_000))[partition]
    finally:
        await consumer.stop()
    assert (record.offset, record.key, record.value) == (0, b"a", b"value")


async def test_database_has_the_schema_and_no_rows(database: Database) -> None:
    connection = await asyncpg.connect(database.url("owner"))
    try:
        assert await connection.fetchval("select count(*) from balance") == 0
    finally:
        await connection.close()


async def test_redis_publishes_to_subscribers(redis_url: str, channel_prefix: str) -> None:
    async with Redis.from_url(redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(f"{channel_prefix}x")
        await pubsub.get_message(timeout=30)  # the acknowledgement
        assert await redis.publish(f"{channel_prefix}x", "hello") == 1
        message = await pubsub.get_message(timeout=30)
    assert message is not None
    assert message["data"] == b"hello"
