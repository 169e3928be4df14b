from livebalance.gateway.redis.pending import PendingSubscriptions


def test_channel_sent_twice_is_acknowledged_by_the_last_acknowledgement() -> None:
    pending = PendingSubscriptions()
    pending.add(0, [b"0-0"])
    pending.add(0, [b"0-0", b"0-1"])
    assert not pending.acknowledge(b"0-0")
    assert pending.acknowledge(b"0-0")
    assert pending.reject_slot(0) == [b"0-1"]
    assert b"0-1" not in pending
