"""aiokafka chooses the same partition for a key as the Kafka client of Java."""

import pytest
from aiokafka.partitioner import DefaultPartitioner

from tests.contract.vectors import Vector, label, vectors


@pytest.mark.parametrize("case", vectors("partition")["keys"], ids=label)
def test_key_goes_to_the_partition_of_java(case: Vector) -> None:
    for count, partition in case["partitions"].items():
        all_partitions = list(range(int(count)))
        assert DefaultPartitioner()(case["key"].encode(), all_partitions, all_partitions) == partition
