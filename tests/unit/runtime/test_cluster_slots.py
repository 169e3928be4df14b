"""The slot map of a Redis cluster, and MOVED errors."""

import pytest

from livebalance.runtime.redis.cluster_slots import SLOT_COUNT, ClusterSlots, Moved, slot_of
from livebalance.runtime.redis.url import RedisNode

ASKED, OTHER = RedisNode("10.0.0.1", 7000), RedisNode("10.0.0.2", 7001)


@pytest.mark.parametrize(
    ("channel", "slot"),
    [  # from CLUSTER KEYSLOT of Valkey 9.1
        (b"123456789", 12739),
        (b"livebalance:account:acc-0001", 9988),
        (b"foo", 12182),
        (b"{foo}:account:a", 12182),
        (b"a{foo}b{bar}", 12182),
        (b"foo{}bar", 14292),
        (b"foo{bar", 15278),
        (b"foo{{bar}}zap", 4015),
        (b"", 0),
    ],
)
def test_slot_of_a_channel_matches_valkey(channel: bytes, slot: int) -> None:
    assert slot_of(channel) == slot


def test_slot_map_has_the_owners_of_the_reply_and_of_a_move() -> None:
    slots = ClusterSlots.from_reply(
        [
            [0, 9000, [b"", 7000, b"id", []], [b"10.0.0.9", 7009, b"id"]],
            [12000, SLOT_COUNT - 1, [b"10.0.0.2", 7001, b"id", []]],
        ],
        ASKED,
    )
    assert slots.nodes == {ASKED, OTHER}
    assert slots.owner(b"foo") == OTHER
    assert slots.owner(b"") == ASKED
    account = b"livebalance:account:acc-0001"
    assert slots.owner(account) is None
    assert slots == ClusterSlots([slots.owner(b"")] * 9001 + [None] * 2999 + [OTHER] * 4384)
    slots.apply_move(Moved(9988, OTHER))
    assert slots != ClusterSlots([ASKED] * 9001 + [None] * 2999 + [OTHER] * 4384)
    assert slots.owner(account) == OTHER


@pytest.mark.parametrize(
    ("error", "move"),
    [
        ("MOVED 3999 10.0.0.2:7001", Moved(3999, OTHER)),
        ("MOVED 1 :7005", Moved(1, RedisNode("10.0.0.1", 7005))),
        ("MOVED 1 fe80::1:7005", Moved(1, RedisNode("fe80::1", 7005))),
        ("CLUSTERDOWN Hash slot not served", None),
        ("MOVED", None),
        ("", None),
    ],
)
def test_moved_error_names_slot_and_node(error: str, move: Moved | None) -> None:
    assert Moved.parse(error, ASKED) == move
