"""The assignments of the consumer group, counted."""

from aiokafka import ConsumerRebalanceListener, TopicPartition


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Only counts (design, rule of assignment).

    aiokafka wakes a waiting `getmany` before `on_partitions_assigned` has returned and only logs what that
    raises. So nothing is claimed or sought here: the loop does, and compares numbers.
    """

    def __init__(self) -> None:
        self.number = 0  # grows with each assignment and each revocation
        self.partitions: frozenset[TopicPartition] = frozenset()

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self.number += 1
        self.partitions = frozenset()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.number += 1
        self.partitions = frozenset(assigned)
