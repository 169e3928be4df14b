"""Hypothesis strategies for the values of the wire library, and a strategy that corrupts their bytes."""

from hypothesis import strategies as st

from livebalance.wire.delta import DeltaParts, ProgressMessage
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Lane, Revision, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import INT64_MAX, INT64_MIN, Money
from livebalance.wire.timestamp import MAX_MILLIS, Millis, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json

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
client_ids = st.text(max_size=20)
opening_balances = st.builds(Balance, accounts, client_ids, st.just(TransferId("")), amounts, st.just(0))
later_balances = st.builds(Balance, accounts, client_ids, transfer_ids, amounts, st.integers(1, MAX_REVISION))
balances = opening_balances | later_balances

amount_texts = amounts.map(str)
balance_views = st.builds(
    BalanceView,
    amount=amount_texts,
    currency=st.none() | st.just("EUR"),
    version=st.integers(0, MAX_REVISION),
    revision=revisions,
    transfer_id=transfer_ids,
    client_id=st.text(max_size=20),
    opening=st.none() | amount_texts,
    half_applied=st.none() | amount_texts,
    drift=st.none() | amount_texts,
    disputed_since=st.none() | times.map(format_rfc3339),
)
transfer_views = st.builds(
    TransferView,
    id=transfer_ids,
    amount=amount_texts,
    total=amount_texts,
    occurred_at=times.map(format_rfc3339),
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
        balance_json(draw(st.none() | balance_views)),
        transfers_json(draw(st.lists(transfer_views, max_size=3))),
    )


progresses = st.builds(ProgressMessage, lanes, epochs, times, st.booleans())


@st.composite
def corrupted(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Replaces a part of valid bytes by random bytes, possibly fewer or more."""
    original = draw(valid)
    start = draw(st.integers(0, len(original)))
    end = draw(st.integers(start, len(original)))
    return original[:start] + draw(st.binary(max_size=12)) + original[end:]
