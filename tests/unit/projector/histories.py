"""Random records of one lane: arbitrary records that contradict each other, and consistent topics."""

from collections.abc import Sequence

from hypothesis import strategies as st

from livebalance.projector.fold.records import Content, Incoming
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis

LANE = Lane(3)


def raw_record(  # noqa: PLR0917 - the fields of a RawRecord
    topic: str = "transfers",
    partition: int = LANE,
    offset: int = 0,
    timestamp: int = 0,
    key: bytes | None = b"a",
    value: bytes | None = b"?",
    headers: Headers = (),
) -> RawRecord:
    return RawRecord(topic, partition, offset, timestamp, key, value, headers)


def incoming(content: Content, offset: int, at: int) -> Incoming:
    topic = "transfers" if isinstance(content, Transfer | Rejected) else "account-balances"
    return Incoming(content, LANE, Offset(offset), Millis(at), raw_record(topic, LANE, offset, at))


def incoming_records(records: Sequence[Content], times: Sequence[int]) -> list[Incoming]:
    """Returns the records in this order, with ascending offsets."""
    return [
        incoming(content, offset, at) for offset, (content, at) in enumerate(zip(records, times, strict=True))
    ]


ids = st.sampled_from(["1", "2", "3", "4"]).map(TransferId)
accounts = st.sampled_from(["a", "b"]).map(AccountId)
money = st.builds(Money, st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)]), st.integers(0, 2))
transfers = st.builds(Transfer, ids, accounts, money, st.sampled_from([0, 0, 7]))
balances = st.builds(
    lambda account, client, id_, amount, version: Balance(
        account, client, id_ if version else TransferId(""), amount, version
    ),
    accounts,
    st.sampled_from(["c", "c", "d"]),
    ids,
    money,
    st.integers(0, 4),
)
times = st.integers(0, 50)


@st.composite
def arbitrary_records(draw: st.DrawFn) -> list[Incoming]:
    """Draws repeats, contradictions, lower versions, erasures and rejected records."""
    kinds = st.one_of(
        transfers,
        transfers,
        balances,
        balances,
        accounts.map(Erasure),
        st.just(Rejected("bad")),
    )
    records = draw(st.lists(st.tuples(kinds, times), max_size=14))
    return incoming_records([content for content, _ in records], [at for _, at in records])


small = st.builds(Money, st.integers(-9, 9), st.integers(0, 2))
repeats = st.sampled_from([1, 1, 1, 2])


@st.composite
def consistent_topics(draw: st.DrawFn) -> tuple[list[Content], list[Content]]:
    """Draws both topics of a lane as a feed and a recorder write them; some records are written twice.

    Compaction may have removed the first balances.
    """
    payments = draw(st.lists(st.tuples(accounts, small, repeats, repeats), max_size=8))
    sums = dict(zip(("a", "b"), draw(st.tuples(small, small)), strict=True))
    transfer_records: list[Content] = []
    balance_records: list[Content] = [
        Balance(AccountId(account), "c", TransferId(""), opening, 0) for account, opening in sums.items()
    ]
    for version, (account, amount, transfer_count, balance_count) in enumerate(payments, 1):
        id_ = TransferId(f"t{version}")
        sums[account] = sums[account].add(amount)
        transfer_records += [Transfer(id_, account, amount, version)] * transfer_count
        balance_records += [Balance(account, "c", id_, sums[account], version)] * balance_count
    return transfer_records, balance_records[draw(st.sampled_from([0, 0, 1, 2, 3])) :]


@st.composite
def interleaved(draw: st.DrawFn, topics: tuple[list[Content], list[Content]]) -> list[Incoming]:
    """Draws an order in which the records of both topics may be read."""
    random = draw(st.randoms(use_true_random=False))
    rest = [list(topics[0]), list(topics[1])]
    records: list[Content] = []
    while rest[0] or rest[1]:
        records.append(random.choice([side for side in rest if side]).pop(0))
    return incoming_records(records, [random.randrange(50) for _ in records])
