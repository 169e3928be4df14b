"""Random values of the wire, and ways to spoil their bytes."""

from hypothesis import strategies as st

from livebalance.wire.delta import DeltaParts, ProgressMessage
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Lane, Revision, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import INT64_MAX, INT64_MIN, Money
from livebalance.wire.timestamp import MAX_MILLIS, Millis, rfc3339
from livebalance.wire.views import BalanceView, TransferView, balance_part, transfers_part

int64 = st.integers(INT64_MIN, INT64_MAX)
ids = st.text("AZaz09._-", min_size=1, max_size=64)
accounts = ids.map(AccountId)
transfer_ids = ids.map(TransferId)
amounts = st.builds(Money, int64, st.integers(0, 18))
times = st.integers(0, MAX_MILLIS).map(Millis)
epochs = st.binary(min_size=8, max_size=8).map(lambda raw: Epoch(raw.hex()))
lanes = st.integers(0, 65535).map(Lane)
revisions = st.integers(0, MAX_REVISION).map(Revision)

transfers = st.builds(Transfer, transfer_ids, accounts, amounts, times)
opened = st.builds(Balance, accounts, st.text(max_size=20), st.just(TransferId("")), amounts, st.just(0))
moved = st.builds(
    Balance, accounts, st.text(max_size=20), transfer_ids, amounts, st.integers(1, MAX_REVISION)
)
balances = opened | moved

texts = amounts.map(str)
balance_views = st.builds(
    BalanceView,
    amount=texts,
    currency=st.none() | st.just("EUR"),
    version=st.integers(0, MAX_REVISION),
    revision=revisions,
    transfer_id=transfer_ids,
    client_id=st.text(max_size=20),
    opening=st.none() | texts,
    half_applied=st.none() | texts,
    drift=st.none() | texts,
    disputed_since=st.none() | times.map(rfc3339),
)
transfer_views = st.builds(
    TransferView,
    id=transfer_ids,
    amount=texts,
    total=texts,
    occurred_at=times.map(rfc3339),
    revision=revisions,
    source=st.just("transfers/3@5512"),
)


@st.composite
def parts(draw: st.DrawFn) -> DeltaParts:
    start = draw(st.integers(0, MAX_REVISION - 1))
    return DeltaParts(
        draw(epochs),
        Revision(start),
        Revision(draw(st.integers(start + 1, MAX_REVISION))),
        draw(times),
        balance_part(draw(st.none() | balance_views)),
        transfers_part(draw(st.lists(transfer_views, max_size=3))),
    )


progresses = st.builds(ProgressMessage, lanes, epochs, times, st.booleans())


@st.composite
def spoiled(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes with a part replaced: shorter, longer, or other."""
    whole = draw(valid)
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, len(whole)))
    return whole[:start] + draw(st.binary(max_size=12)) + whole[end:]
