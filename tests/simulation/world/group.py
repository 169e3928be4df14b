"""A consumer group: its members, and the partitions that each believes to own."""

from collections.abc import Callable


class Member:
    """A member's view of the group, which is out of date until its next poll."""

    __slots__ = ("assigned", "number")

    def __init__(self) -> None:
        self.assigned: tuple[int, ...] = ()
        self.number = -1  # of the rebalance that assigned them


class Group:
    """Assigns the partitions to its members in turn. Each change of either is a rebalance."""

    def __init__(self, partitions: Callable[[], int]) -> None:
        self._partitions = partitions
        self._members: list[Member] = []
        self.number = 0

    def rebalance(self) -> None:
        self.number += 1

    def poll(self, member: Member) -> bool:
        """Joins unless the member belongs to the group. Returns whether its assignment changed."""
        if member not in self._members:
            self._members.append(member)
            self.rebalance()
        if member.number == self.number:
            return False
        member.number, index = self.number, self._members.index(member)
        member.assigned = tuple(range(self._partitions()))[index :: len(self._members)]
        return True

    def expire(self, member: Member) -> None:
        """Removes a member that no longer sends heartbeats. The member does not notice before it polls."""
        if member in self._members:
            self._members.remove(member)
            self.rebalance()
