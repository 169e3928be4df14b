import pytest

from livebalance.wire.delta import (
    Delta,
    DeltaParts,
    ProgressMessage,
    decode_delta,
    decode_progress,
    encode_delta,
    encode_progress,
    make_delta,
    merge,
    read_header,
    split_delta_frame,
)
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import DeltaFrame, decode_server_frame, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision
from livebalance.wire.timestamp import Millis
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("delta")
ACCOUNT = AccountId("acc-0001")


def parts(case: Vector) -> DeltaParts:
    return DeltaParts(
        Epoch(case["epoch"]),
        Revision(case["from"]),
        Revision(case["to"]),
        Millis(case["recorded_at"]),
        case["balance"].encode(),
        case["transfers"].encode(),
    )


def delta(case: Vector) -> Delta:
    return make_delta(ACCOUNT, Lane(case["lane"]), parts(case), gone=case["gone"])


@pytest.mark.parametrize("case", VECTORS["deltas"], ids=label)
def test_delta_encodes_to_its_bytes_and_back(case: Vector) -> None:
    message = bytes.fromhex(case["hex"])
    assert encode_delta(delta(case)) == message
    assert decode_delta(ACCOUNT, message) == delta(case)
    assert split_delta_frame(delta(case).text) == parts(case)


@pytest.mark.parametrize("case", VECTORS["deltas"], ids=label)
def test_delta_with_positions_encodes_to_its_bytes_and_back(case: Vector) -> None:
    message = bytes.fromhex(case["hex_with_positions"])
    assert encode_delta(delta(case), positions=True) == message
    assert decode_delta(ACCOUNT, message) == delta(case)
    assert read_header(ACCOUNT, message) in (None, delta(case))


@pytest.mark.parametrize("case", [case for case in VECTORS["deltas"] if case["frame"]], ids=label)
def test_delta_contains_its_frame(case: Vector) -> None:
    text = decode_delta(ACCOUNT, bytes.fromhex(case["hex"])).text
    assert text.decode() == case["frame"]
    frame = decode_server_frame(text)
    assert isinstance(frame, DeltaFrame)
    assert encode_frame(frame) == text


@pytest.mark.parametrize("case", VECTORS["merges"], ids=label)
def test_consecutive_deltas_merge(case: Vector) -> None:
    first, second = case["first"].encode(), case["second"].encode()
    assert merge(ACCOUNT, [first, second]).decode() == case["merged"]
    with pytest.raises(ValueError, match="gap"):
        merge(ACCOUNT, [second, first])


@pytest.mark.parametrize("case", VECTORS["delta_invalid"], ids=label)
def test_invalid_delta_is_rejected(case: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_delta(ACCOUNT, bytes.fromhex(case["hex"]))


@pytest.mark.parametrize("case", VECTORS["progress"], ids=label)
def test_progress_encodes_to_its_bytes_and_back(case: Vector) -> None:
    message = bytes.fromhex(case["hex"])
    progress = ProgressMessage(
        Lane(case["lane"]), Epoch(case["epoch"]), Millis(case["as_of"]), case["behind"]
    )
    assert encode_progress(progress) == message
    assert decode_progress(message) == progress


@pytest.mark.parametrize("case", VECTORS["progress_invalid"], ids=label)
def test_invalid_progress_is_rejected(case: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_progress(bytes.fromhex(case["hex"]))
