"""Topics that a projection could not be rebuilt from: one clear line, and no start."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from livebalance.stack.servers.topics import Topics
from tests.integration.projector.world import World, reached

KEPT = {"retention.ms": "-1"}
COMPACTED = {"cleanup.policy": "compact"}


@pytest.mark.parametrize(
    ("partitions", "transfers", "balances", "words"),
    [
        ((2, 3), KEPT, COMPACTED, "both must have the same number"),
        ((2, 2), {"retention.ms": "604800000"}, COMPACTED, "set retention.ms=-1"),
        ((2, 2), KEPT, {}, "set cleanup.policy=compact"),
    ],
)
async def test_unfit_topics(
    world: World,
    partitions: tuple[int, int],
    transfers: dict[str, str],
    balances: dict[str, str],
    words: str,
) -> None:
    world.topics = Topics(f"{world.topics.transfers}-unfit", f"{world.topics.balances}-unfit", 2)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(world.topics.transfers, partitions[0], 1, topic_configs=transfers),
                NewTopic(world.topics.balances, partitions[1], 1, topic_configs=balances),
            ]
        )
        await is_refused(world, words)
    finally:
        await admin.delete_topics([world.topics.transfers, world.topics.balances])
        await admin.close()


async def test_missing_topics(world: World) -> None:
    world.topics = Topics("not-there", "not-there-either", 2)
    await is_refused(world, "there is no topic not-there: create it first")


async def test_another_number_of_partitions_than_the_projection_has(world: World) -> None:
    async with world.running():
        await world.until("select count(distinct owner)::int from lane", 1)
    await world.ask("update projection set partitions = 7")
    await is_refused(world, "the topics have 3 partitions, the projection was built from 7")


async def is_refused(world: World, words: str) -> None:
    child = world.start()
    await reached(lambda: child.exit_code is not None)
    said = [line for line in child.tail() if "refused to start" in line]
    assert child.exit_code == 2
    assert len(said) == 1
    assert words in said[0]
    assert not any("Traceback" in line for line in child.tail())
