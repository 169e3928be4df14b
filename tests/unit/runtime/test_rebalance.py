from aiokafka import TopicPartition

from livebalance.runtime.kafka.rebalance import RebalanceListener

FIRST, SECOND = TopicPartition("transfers", 0), TopicPartition("transfers", 1)


def test_number_grows_with_each_assignment_and_revocation() -> None:
    listener = RebalanceListener()
    numbers = [listener.number]
    for _ in range(2):
        listener.on_partitions_assigned({FIRST})
        numbers.append(listener.number)
        listener.on_partitions_revoked({FIRST})
        numbers.append(listener.number)
    assert numbers == [0, 1, 2, 3, 4]


def test_assignment_is_current_until_its_revocation() -> None:
    listener = RebalanceListener()
    assert not listener.is_current(listener.number)
    listener.on_partitions_assigned({FIRST})
    number = listener.number
    assert listener.is_current(number)
    listener.on_partitions_revoked({FIRST})
    assert not listener.is_current(number)
    assert not listener.is_current(listener.number)


def test_assignment_after_another_replaces_it() -> None:
    listener = RebalanceListener()
    listener.on_partitions_assigned({FIRST})
    number = listener.number
    listener.on_partitions_revoked({FIRST})
    listener.on_partitions_assigned({FIRST})  # the same partitions
    assert not listener.is_current(number)
    assert listener.is_current(listener.number)


def test_partitions_are_those_of_the_current_assignment() -> None:
    listener = RebalanceListener()
    assert listener.partitions == frozenset()
    listener.on_partitions_assigned({FIRST, SECOND})
    assert listener.partitions == {FIRST, SECOND}
    listener.on_partitions_revoked({FIRST, SECOND})
    assert listener.partitions == frozenset()
