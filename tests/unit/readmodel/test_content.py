"""The content of frames, as audits compare it: fields that are known, in the form of views."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import asdict, fields, replace

from livebalance.readmodel import content
from livebalance.readmodel.content import canonical_balance, canonical_transfers
from livebalance.wire.delta import DeltaParts, encode_delta_frame
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, TransferId
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.unit.wire.samples import balance_views, transfer_views

ID = TransferId("t-1")
TRANSFER = TransferView(ID, "1.00", "1.00", "2026-11-24T17:20:00.000Z", Revision(1), "transfers/0@1")
BALANCE = BalanceView("1.00", "EUR", 1, Revision(2), ID, "c", "0.00", "0.00", "0.00", None)


EPOCH, ALICE = Epoch("00000000000000a1"), AccountId("alice")


class Relayed(NamedTuple):
    before: Position
    after: Position
    text: bytes


def transfers_of(*texts: bytes) -> bytes:
    """The content of frames from revision 1 to 2."""
    before, after = Position(EPOCH, Revision(1)), Position(EPOCH, Revision(2))
    return canonical_transfers(ALICE, [Relayed(before, after, text) for text in texts])


def frame(balance: bytes, transfers: bytes) -> bytes:
    parts = DeltaParts(EPOCH, Revision(1), Revision(2), Millis(1), balance, transfers)
    return encode_delta_frame(ALICE, parts)


@given(st.none() | balance_views, st.lists(transfer_views, max_size=3))
def test_content_of_a_frame_is_the_json_of_its_views(
    balance: BalanceView | None, transfers: list[TransferView]
) -> None:
    text = frame(balance_json(balance), transfers_json(transfers))
    assert canonical_balance(text) == balance_json(balance)
    assert transfers_of(text) == b"".join(transfers_json([transfer]) + b"," for transfer in transfers)


def test_content_of_frames_is_that_of_each_in_order() -> None:
    first = frame(b"", transfers_json([TRANSFER]))
    second = frame(b"", transfers_json([TRANSFER, replace(TRANSFER, id=TransferId("t-2"))]))
    assert transfers_of(first, frame(b"", b""), second) == transfers_of(first) + transfers_of(second)


def test_content_has_every_field_of_the_views() -> None:
    for view, known in ((TransferView, content._Transfer), (BalanceView, content._Balance)):
        assert [field.name for field in fields(known)] == [field.name for field in fields(view)]


def test_unknown_fields_are_left_out() -> None:
    balance = json.encode({"later": 1, **asdict(BALANCE)})
    transfers = json.encode({**asdict(TRANSFER), "later": {}})
    text = frame(balance, transfers)
    assert canonical_balance(text) == balance_json(BALANCE)
    assert transfers_of(text) == transfers_json([TRANSFER]) + b","


def test_content_of_another_shape_equals_that_of_no_row() -> None:
    assert transfers_of(frame(b"null", b'{"id":1}')) == b"?"
    assert canonical_balance(frame(b"{}", b"")) == b"?"
    assert canonical_balance(frame(b"", b"")) == b""
    assert transfers_of(b"x") == canonical_balance(b"x") == b"?"


@pytest.mark.parametrize(
    "later", [b'"channel":"account:bob"', b'"epoch":"00000000000000b2"', b'"from":0', b'"to":3']
)
def test_content_of_a_frame_that_ends_with_another_position_equals_that_of_no_row(later: bytes) -> None:
    text = frame(b"null", transfers_json([TRANSFER]))
    assert transfers_of(text[:-1] + b"," + later + b"}") == b"?"
