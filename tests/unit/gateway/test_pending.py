from livebalance.gateway.redis.pending import PendingSubscriptions


def test_channel_sent_twice_is_acknowledged_by_the_last_acknowledgement() -> None:
    pending = PendingSubscriptions()
    pending.add(0, [b"0-0"])
    pending.add(0, [b"0-0", b"0-1"])
    assert not pending.acknowledge(b"0-0")
    assert pending.acknowledge(b"0-0")
    assert pending.reject_slot(0) == [b"0-1"]
    assert b"0-1" not in pending


def test_slot_that_moved_has_the_channels_of_all_commands_that_are_pending() -> None:
    pending = PendingSubscriptions()
    pending.add(0, [b"0-0", b"0-1", b"0-3"])
    pending.add(1, [b"1-0"])
    pending.add(0, [b"0-2", b"0-0"])
    assert pending.acknowledge(b"0-1")
    assert sorted(set(pending.reject_slot(0))) == [b"0-0", b"0-2", b"0-3"]
    assert [channel in pending for channel in (b"0-0", b"0-1", b"0-2", b"1-0")] == [False] * 3 + [True]
    assert pending.reject_slot(0) == []
    assert pending.reject_slot(1) == [b"1-0"]


def test_channels_are_forgotten_once_all_are_acknowledged() -> None:
    pending = PendingSubscriptions()
    pending.add(0, [b"0-0"])
    pending.add(1, [b"1-0"])
    assert pending.acknowledge(b"0-0")
    assert pending._by_slot
    assert pending.acknowledge(b"1-0")
    assert not pending._by_slot
