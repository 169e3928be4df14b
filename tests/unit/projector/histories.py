"""Records of one lane, drawn at random: wild ones that contradict themselves, and faithful ones."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from livebalance.projector.fold.records import Content, Erasure, Incoming, Rejected
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis

LANE = Lane(3)


class Raw(NamedTuple):
    """A record as a consumer hands it out."""

    topic: str = "transfers"
    partition: int = LANE
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = b"a"
    value: bytes | None = b"?"
    headers: Sequence[tuple[str, bytes | None]] = ()


def arrived(what: Content, offset: int, at: int) -> Incoming:
    topic = "transfers" if isinstance(what, Transfer | Rejected) else "account-balances"
    return Incoming(what, LANE, Offset(offset), Millis(at), Raw(topic, LANE, offset, at))


def numbered(records: Sequence[Content], times: Sequence[int]) -> list[Incoming]:
    """In this order; each topic counts its offsets for itself."""
    return [arrived(what, offset, at) for offset, (what, at) in enumerate(zip(records, times, strict=True))]


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
def wild(draw: st.DrawFn) -> list[Incoming]:
    """Anything goes: repeats, contradictions, lower versions, erasures, refused records."""
    kinds = st.one_of(
        transfers,
        transfers,
        balances,
        balances,
        accounts.map(Erasure),
        st.just(Rejected("bad")),
    )
    records = draw(st.lists(st.tuples(kinds, times), max_size=14))
    return numbered([what for what, _ in records], [at for _, at in records])


small = st.builds(Money, st.integers(-9, 9), st.integers(0, 2))
repeats = st.sampled_from([1, 1, 1, 2])


@st.composite
def faithful(draw: st.DrawFn) -> tuple[list[Content], list[Content]]:
    """Both topics of a lane as a feed and a recorder write them, now and then a record twice.

    The topic of balances may have lost its beginning to compaction.
    """
    moves = draw(st.lists(st.tuples(accounts, small, repeats, repeats), max_size=8))
    sums = dict(zip(("a", "b"), draw(st.tuples(small, small)), strict=True))
    posted: list[Content] = []
    shown: list[Content] = [
        Balance(AccountId(account), "c", TransferId(""), opening, 0) for account, opening in sums.items()
    ]
    for version, (account, amount, again, shown_again) in enumerate(moves, 1):
        id_ = TransferId(f"t{version}")
        sums[account] = sums[account].add(amount)
        posted += [Transfer(id_, account, amount, version)] * again
        shown += [Balance(account, "c", id_, sums[account], version)] * shown_again
    return posted, shown[draw(st.sampled_from([0, 0, 1, 2, 3])) :]


@st.composite
def interleaved(draw: st.DrawFn, topics: tuple[list[Content], list[Content]]) -> list[Incoming]:
    """Some order in which both topics of a lane may be met."""
    chance = draw(st.randoms(use_true_random=False))
    rest = [list(topics[0]), list(topics[1])]
    records: list[Content] = []
    while rest[0] or rest[1]:
        records.append(chance.choice([side for side in rest if side]).pop(0))
    return numbered(records, [chance.randrange(50) for _ in records])
