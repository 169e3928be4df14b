"""Counts the assignments of a consumer group."""

from aiokafka import ConsumerRebalanceListener, TopicPartition


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Counts assignments and revocations, and does nothing else. See docs/guarantees.md#assignment.

    aiokafka wakes a waiting `getmany` before `on_partitions_assigned` has returned, and only logs exceptions
    raised there. So the listener neither claims nor seeks: the loop compares numbers, and discards a batch
    that was read under another assignment.
    """

    def __init__(self) -> None:
        self.number = 0  # grows with each assignment and each revocation
        self.settled = False  # True from an assignment to its revocation
        self.partitions: frozenset[TopicPartition] = frozenset()  # empty while not settled

    def is_current(self, number: int) -> bool:
        """Returns whether assignment `number` is in force and is not about to be replaced."""
        return self.settled and self.number == number

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Ends the assignment in force. Called by aiokafka."""
        self.number += 1
        self.settled = False
        self.partitions = frozenset()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Begins a new assignment. Called by aiokafka."""
        self.number += 1
        self.settled = True
        self.partitions = frozenset(assigned)
