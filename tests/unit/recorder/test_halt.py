"""Why a partition halts."""

import pytest

from livebalance.readmodel.rows import SourceIdentity
from livebalance.recorder.halt import (
    NO_ID,
    HaltedError,
    SourceCheck,
    partitions_reason,
    topics_reason,
    unreadable_reason,
)
from livebalance.recorder.ledger import NO_OFFSET
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.source import Source

TOPICS = ("transfers", "account-balances")
KNOWN = SourceIdentity(3, "t-1", "b-1")


def test_partitions_halt_if_their_number_changes() -> None:
    assert partitions_reason(KNOWN, KNOWN) is None
    reason = "the topics have 4 partitions, the recorder began with 3"
    assert partitions_reason(KNOWN, KNOWN._replace(partitions=4)) == reason


@pytest.mark.parametrize(
    ("transfers_id", "balances_id", "changed"),
    [
        ("t-1", "b-1", None),
        ("t-2", "b-1", "transfers"),
        ("t-1", "b-2", "account-balances"),
        (NO_ID, NO_ID, None),
        (NO_ID, "b-2", "account-balances"),
    ],
)
def test_topics_halt_if_an_id_changes(transfers_id: str, balances_id: str, changed: str | None) -> None:
    now = SourceIdentity(3, transfers_id, balances_id)
    reason = changed and f"{changed} has another topic id now: the topic was recreated"
    assert topics_reason(KNOWN, now, TOPICS) == reason
    assert topics_reason(now, KNOWN, TOPICS) == reason


@pytest.mark.parametrize(
    ("first", "end", "reason"),
    [
        (0, 5, None),
        (5, 5, None),
        (0, 4, "t ends at 4 but 5 comes next: the topic was recreated"),
        (6, 9, "t begins at 6 but 5 comes next: history was lost"),
    ],
)
def test_topic_halts_if_the_next_offset_is_not_in_it(first: int, end: int, reason: str | None) -> None:
    assert unreadable_reason("t", first, end, 5) == reason


def make_check(accepts_others: bool = False, trusts_offsets: bool = True) -> SourceCheck:
    check = SourceCheck(
        "t-1", "transfers", Lane(2), accepts_others=accepts_others, trusts_offsets=trusts_offsets
    )
    check.end = Offset(10)
    return check


def source(offset: int = 4, topic_id: str = "t-1", partition: int = 2, fingerprint: bytes = b"f") -> Source:
    return Source(topic_id, Lane(partition), Offset(offset), fingerprint)


def test_newest_source_of_the_partition_is_kept() -> None:
    check = make_check()
    assert [check.offset(source(offset)) for offset in (4, 6, 5)] == [4, 6, 5]
    assert check.newest == source(6)
    assert check.offset(source(6, fingerprint=b"g")) == 6
    assert check.newest == source(6, fingerprint=b"g")
    assert check.others is False


def test_nothing_is_in_a_topic_whose_end_is_not_set() -> None:
    check = SourceCheck("t-1", "transfers", Lane(2), accepts_others=False, trusts_offsets=True)
    with pytest.raises(HaltedError, match="includes offset 0 but transfers ends at 0"):
        check.offset(Offset(0))


def test_source_without_a_topic_counts_only_if_it_is_trusted() -> None:
    assert make_check().offset(Offset(4)) == 4
    assert make_check().offset(None) == NO_OFFSET
    assert make_check(trusts_offsets=False).offset(Offset(4)) == NO_OFFSET
    assert make_check(trusts_offsets=False).offset(source(4)) == 4
    assert make_check(trusts_offsets=False).offset(None) == NO_OFFSET


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (source(topic_id="t-2"), "a balance includes t-2/2@4, which is not in transfers/2"),
        (source(partition=1), "a balance includes t-1/1@4, which is not in transfers/2"),
        (source(10), "a balance includes offset 10 but transfers ends at 10: records were lost"),
        (Offset(10), "a balance includes offset 10 but transfers ends at 10: records were lost"),
    ],
)
def test_balance_of_other_transfers_halts_unless_an_operator_accepts_it(
    of: Source | Offset, reason: str
) -> None:
    check = make_check()
    with pytest.raises(HaltedError) as raised:
        check.offset(of)
    assert str(raised.value) == reason
    assert check.others is False
    accepting = make_check(accepts_others=True)
    assert accepting.offset(of) == NO_OFFSET
    assert (accepting.others, accepting.newest) == (True, None)


def test_broker_without_topic_ids_compares_partitions_and_offsets_only() -> None:
    assert make_check().offset(source(topic_id=NO_ID)) == 4


def test_record_with_another_fingerprint_at_the_newest_source_halts() -> None:
    check = make_check()
    check.check_record(4, b"g")
    check.offset(source(4))
    check.check_record(4, b"f")
    check.check_record(3, b"g")
    with pytest.raises(HaltedError) as raised:
        check.check_record(4, b"g")
    assert str(raised.value) == "transfers holds another record at 4 now: the topic was recreated"
