"""A client that applies patches has every delta that was sent, over any history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from livebalance.client.patch import apply_patch
from livebalance.gateway.live.patches import make_patch
from livebalance.wire.delta import DeltaParts, encode_delta_frame
from livebalance.wire.frame import DeltaFrame, Patch, decode_server_frame
from livebalance.wire.identity import AccountId, Epoch, Revision, TransferId
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.unit.wire import samples

ACCOUNT = AccountId("acc-0001")
EPOCHS = (Epoch("00000000000000a1"), Epoch("00000000000000b2"))
# Few values, so that fields often stay, come back, or equal what a patch implies.
IDS = st.sampled_from(["t-1", "t-2", ""]).map(TransferId)
TEXTS = st.sampled_from(["0.00", "5.00", "-0.05"])
NUMBERS = st.integers(0, 4)


TIME = "2026-11-24T17:20:00.000Z"


def views(revisions: st.SearchStrategy[int]) -> st.SearchStrategy[BalanceView | None]:
    few = st.builds(
        BalanceView, TEXTS, st.sampled_from([None, "EUR"]), NUMBERS, revisions, IDS, samples.client_ids,
        st.none() | TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.none() | st.just(TIME),
    )  # fmt: skip
    return st.none() | few | few | few | samples.balance_views


@st.composite
def histories(draw: st.DrawFn) -> list[bytes]:
    """Deltas of an account: most begin where the one before ends, in its epoch."""
    texts, revision = [], 0
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.sampled_from([revision, revision, revision, revision, 7]))
        revision = start + draw(st.integers(1, 3))
        near = st.integers(start, revision + 1).map(Revision)
        transfer = st.builds(TransferView, IDS, TEXTS, TEXTS, st.just(TIME), near,
                             st.sampled_from(["transfers/3@1", "transfers/3@2"]))  # fmt: skip
        transfers = draw(st.lists(transfer | samples.transfer_views, max_size=3))
        parts = DeltaParts(
            draw(st.sampled_from([*EPOCHS[:1] * 5, EPOCHS[1]])), Revision(start), Revision(revision),
            Millis(draw(st.sampled_from([0, 1]))), balance_json(draw(views(near))), transfers_json(transfers),
        )  # fmt: skip
        more = draw(st.sampled_from([False] * 9 + [True]))
        texts.append(encode_delta_frame(ACCOUNT, parts._replace(balance=b"") if more else parts, more=more))
    return texts


@given(histories())
def test_patches_bring_a_client_every_delta(texts: list[bytes]) -> None:
    last: bytes | None = None
    received: DeltaFrame | None = None
    for text in texts:
        patch = make_patch(last, text) if last else None
        delta = decode_server_frame(text)
        frame = decode_server_frame(text if patch is None else patch)
        if isinstance(frame, Patch):
            assert patch is not None
            assert len(patch) <= len(text)
            frame = apply_patch(received, frame)
        assert frame == delta
        assert isinstance(delta, DeltaFrame)
        last, received = text, delta


@given(st.data())
def test_no_bytes_raise_an_error(data: st.DataObject) -> None:
    last, text = delta(1), delta(2, amount="6.00", version=2)
    make_patch(data.draw(samples.corrupted(st.just(last))), text)
    make_patch(last, data.draw(samples.corrupted(st.just(text))))


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b'"revision":3,', b""),
        (b'"transfer_id":"t-1",', b""),
        (b'"version":2', b'"version":1%d' % 10**40),
        (b'"version":2', b'"version":2.5'),
        (b'"amount":"5.00"', b'"amount":{"x":1}'),
        (b'"amount":"5.00"', b'"amount":"\xff"'),
        (b'"transfers":[]', b'"transfers":[{}]'),
        (b'"transfers":[]', b'"transfers":[[[[]]]]'),
    ],
)
def test_delta_that_no_projector_publishes_raises_no_error(part: bytes, other: bytes) -> None:
    first = delta(1).replace(part.replace(b"3", b"2"), other) if not other else delta(1)
    text = delta(2, version=2)
    assert part in text
    make_patch(first, text.replace(part, other))


def delta(from_: int, **changed: str | int) -> bytes:
    balance = {
        "amount": "5.00", "currency": "EUR", "version": 1, "revision": from_ + 1, "transfer_id": "t-1",
        "client_id": "client-1", "opening": "0.00", "half_applied": "0.00", "drift": "0.00",
        "disputed_since": None, **changed,
    }  # fmt: skip
    frame = {
        "type": "delta", "channel": "account:acc-0001", "epoch": EPOCHS[0], "from": from_, "to": from_ + 1,
        "transfers": [], "recorded_at": "2026-11-24T17:20:00.000Z", "balance": balance,
    }  # fmt: skip
    return json.encode(frame)


def test_patch_keeps_a_field_of_a_later_release() -> None:
    patch = make_patch(delta(1, mood="calm"), delta(2, mood="tense"))
    assert patch
    assert json.decode(patch)["balance"] == {"mood": "tense", "revision": 3}


def test_delta_after_an_upgrade_of_the_projector_is_sent_whole() -> None:
    assert make_patch(delta(1), delta(2, mood="calm")) is None


def test_delta_with_an_unknown_field_of_a_later_release_is_sent_whole() -> None:
    text = delta(2)[:-1] + b',"mood":"calm"}'
    assert make_patch(delta(1), text) is None
    assert make_patch(text, delta(3)) is None


def test_patch_is_not_applied_to_another_position() -> None:
    patch = make_patch(delta(1), delta(2))
    assert patch
    frame, received = decode_server_frame(patch), decode_server_frame(delta(1))
    assert isinstance(frame, Patch)
    assert isinstance(received, DeltaFrame)
    assert apply_patch(received, frame) == decode_server_frame(delta(2))
    assert apply_patch(None, frame) is None
    assert apply_patch(decode_server_frame(delta(2)), frame) is None  # type: ignore[arg-type]
    other = decode_server_frame(delta(1).replace(EPOCHS[0].encode(), EPOCHS[1].encode()))
    assert apply_patch(other, frame) is None  # type: ignore[arg-type]
