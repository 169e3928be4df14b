"""Random lives of accounts: three logs of a lane, and the orders in which a projector may read them."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from livebalance.projector.fold.records import Content, Incoming
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.lifecycle import Bound, Erased, Opened
from livebalance.wire.kafka.raw_record import Erasure, RawRecord
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.kafka.source import SOURCE_OFFSET
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis

LANE = Lane(0)
TOPIC = UUID(int=1)


class Life(NamedTuple):
    """An account from its opening to its erasure; the recorder has begun with an amount that may be wrong."""

    account: AccountId
    opening: int
    error: int
    amounts: list[int]
    erased: bool


class Logs(NamedTuple):
    """The records of each topic, in the order of their offsets."""

    transfers: list[Incoming]
    balances: list[Incoming]
    lifecycle: list[Incoming]


lives = st.builds(
    Life,
    st.sampled_from(["a", "b"]).map(AccountId),
    st.integers(0, 3),
    st.sampled_from([0, 0, 1]),
    st.lists(st.integers(-9, 9), max_size=3),
    st.booleans(),
)


def _incoming(topic: str, content: Content, offset: int, source: int | None = None) -> Incoming:
    headers = () if source is None else ((SOURCE_OFFSET, str(source).encode()),)
    raw = RawRecord(topic, LANE, offset, 0, content.account.encode(), b"", headers)  # type: ignore[union-attr]
    return Incoming(content, LANE, Offset(offset), Millis(0), raw)


@st.composite
def logs(draw: st.DrawFn) -> Logs:
    """Draws the logs of some lives. Each account is erased before it is opened again."""
    made = Logs([], [], [])
    drawn = draw(st.lists(lives, min_size=1, max_size=5))
    with_source = draw(st.booleans())
    for _, group in groupby(sorted(drawn, key=lambda life: life.account), key=lambda life: life.account):
        own = list(group)
        for life in own:
            append_life(made, life._replace(erased=life.erased or life is not own[-1]), with_source)
    return made


def append_life(made: Logs, life: Life, with_source: bool) -> None:
    transfers, balances, lifecycle = made

    def write_balance(amount: int, version: int, id_: str, source: int | None) -> None:
        record = Balance(life.account, "c", TransferId(id_), Money(amount, 2), version)
        balances.append(_incoming("account-balances", record, len(balances), source))

    amount = life.opening + life.error
    opened = Opened(life.account, Money(life.opening, 2))
    lifecycle.append(_incoming("account-lifecycle", opened, len(lifecycle)))
    write_balance(amount, 0, "", None)
    for version, change in enumerate(life.amounts, 1):
        id_, offset = f"t{len(transfers)}", len(transfers)
        transfer = Transfer(TransferId(id_), life.account, Money(change, 2), 0)
        transfers.append(_incoming("transfers", transfer, offset))
        amount += change
        write_balance(amount, version, id_, offset if with_source else None)
    if life.erased:
        bound = Bound(TOPIC, Offset(len(transfers)))
        null = _incoming("account-balances", Erasure(life.account, bound), len(balances))
        balances.append(null)
        erased = Erased(life.account, bound, Bound(TOPIC, null.offset))
        lifecycle.append(_incoming("account-lifecycle", erased, len(lifecycle)))


def compacted(balances: Sequence[Incoming], before: int, *, keeps_nulls: bool) -> list[Incoming]:
    """Returns what compaction leaves: the last record of each account below an offset, and all others."""
    last = {record.raw.key: record.offset for record in balances if record.offset < before}
    return [
        record
        for record in balances
        if record.offset >= before
        or (
            last[record.raw.key] == record.offset and (keeps_nulls or not isinstance(record.content, Erasure))
        )
    ]


@st.composite
def read_orders(draw: st.DrawFn, made: Logs) -> list[Incoming]:
    """Draws an order in which a projector reads the logs, and what compaction has removed before.

    In the middle it may claim its lane again, after another compaction: then it reads the lifecycle first.
    """
    random = draw(st.randoms(use_true_random=False))
    balances = compacted(
        made.balances, random.randrange(len(made.balances) + 1), keeps_nulls=random.random() < 0.5
    )
    rest = [list(made.transfers), balances, list(made.lifecycle)]
    claim_at = random.randrange(2 * sum(map(len, rest)))
    order: list[Incoming] = []
    while any(rest):
        if len(order) == claim_at:
            order += rest[2]
            read = len(made.balances) if not rest[1] else rest[1][0].offset
            left = compacted(made.balances, random.randrange(len(made.balances) + 1), keeps_nulls=False)
            rest[1:] = [[record for record in left if record.offset >= read and record in rest[1]], []]
            claim_at = -1
        elif sides := [side for side in rest if side]:
            order.append(random.choice(sides).pop(0))
    return order
