"""The assignments of the consumer group, counted."""

from aiokafka import ConsumerRebalanceListener, TopicPartition


class Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Only counts (design, rule of assignment).

    aiokafka wakes a waiting `getmany` before `on_partitions_assigned` has returned and only logs what that
    raises, so nothing is done here; the loop compares numbers and throws away what was read under another.
    """

    def __init__(self) -> None:
        self.number = 0
        self.settled = False  # from the arrival of an assignment to its revocation

    def are(self, number: int) -> bool:
        """Whether assignment `number` is the one in force, and not about to be replaced."""
        return self.settled and self.number == number

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self.settled = False

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.number += 1
        self.settled = True
