import json

import pytest

from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import decode_client_frame, decode_server_frame, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision, channel_account, parse_set
from livebalance.wire.sets.batch import (
    MAX_BATCH_BYTES,
    ChangedAccount,
    KeptTotal,
    LaneBatch,
    decode_batch,
    encode_batch,
)
from livebalance.wire.sets.merge import merge_set_deltas
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("sets")


def batch(case: Vector) -> LaneBatch:
    accounts = [ChangedAccount(**account) for account in case["accounts"]]
    totals = [KeptTotal(**total) for total in case.get("totals", ())] or ()
    lane, epoch = Lane(case["lane"]), Epoch(case["epoch"])
    return LaneBatch(lane, epoch, case["number"], accounts, case["header_only"], totals)


@pytest.mark.parametrize("name", VECTORS["names"], ids=label)
def test_name_of_a_set_is_recognized(name: str) -> None:
    parsed = parse_set(name)
    assert parsed
    assert parsed.channel == name


@pytest.mark.parametrize("name", VECTORS["names_invalid"], ids=label)
def test_other_name_is_not_that_of_a_set(name: str) -> None:
    assert parse_set(name) is None
    if not name.startswith("account:"):
        with pytest.raises(DecodeError):
            channel_account(name)


@pytest.mark.parametrize("case", VECTORS["client"], ids=label)
def test_client_frame_decodes(case: Vector) -> None:
    assert json.loads(encode_frame(decode_client_frame(case["text"]))) == case["means"]


@pytest.mark.parametrize("case", VECTORS["server"], ids=label)
def test_server_frame_decodes_and_encodes_to_its_text(case: Vector) -> None:
    frame = decode_server_frame(case["text"])
    assert frame is not None
    assert encode_frame(frame).decode() == case["text"]
    assert json.loads(case["text"]) == case["means"]


@pytest.mark.parametrize("case", VECTORS["merges"], ids=label)
def test_consecutive_deltas_merge(case: Vector) -> None:
    first, second = case["first"].encode(), case["second"].encode()
    assert merge_set_deltas([first, second]).decode() == case["merged"]
    with pytest.raises(ValueError, match="gap"):
        merge_set_deltas([second, first])


@pytest.mark.parametrize("case", VECTORS["batches"], ids=label)
def test_batch_encodes_to_its_bytes_and_back(case: Vector) -> None:
    message = bytes.fromhex(case["hex"])
    assert encode_batch(batch(case)) == message
    assert decode_batch(message) == batch(case)


@pytest.mark.parametrize("case", VECTORS["batch_invalid"], ids=label)
def test_invalid_batch_is_rejected(case: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_batch(bytes.fromhex(case["hex"]))


def test_batch_that_is_too_long_has_no_accounts() -> None:
    account = ChangedAccount(AccountId("a"), Revision(1), "1.00", "EUR", "c" * MAX_BATCH_BYTES)
    decoded = decode_batch(encode_batch(LaneBatch(Lane(1), Epoch("0" * 16), 2, [account])))
    assert decoded.header_only
    assert not decoded.accounts


def test_batch_that_is_too_long_with_its_totals_has_only_accounts() -> None:
    account = ChangedAccount(AccountId("a"), Revision(1), "1.00", "EUR", "c")
    totals = [KeptTotal("prefix:" + "a" * MAX_BATCH_BYTES, "EUR", "1.00", 1)]
    decoded = decode_batch(encode_batch(LaneBatch(Lane(1), Epoch("0" * 16), 2, [account], totals=totals)))
    assert (decoded.accounts, decoded.totals, decoded.header_only) == ([account], (), False)
