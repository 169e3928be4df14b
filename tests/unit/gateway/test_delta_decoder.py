"""Deltas by their headers: what is parsed, and what a header cannot conceal."""

import struct

import pytest
from hypothesis import given

from livebalance.gateway.redis.delta_decoder import SAMPLE_EVERY, SUSPICIOUS, DeltaDecoder
from livebalance.wire.delta import Delta, DeltaParts, decode_delta, encode_delta, make_delta, read_header
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION, AccountId, Lane, Revision
from tests.unit.gateway.harness import ALICE, EPOCH, WALL
from tests.unit.wire import samples

PARTS = DeltaParts(EPOCH, Revision(4), Revision(6), WALL, b"null", b"")
DELTA = make_delta(ALICE, Lane(3), PARTS)
GOOD = encode_delta(DELTA, positions=True)
HEADER = 28
# Its header and its beginning are right, but clients understand another position.
CONCEALED = GOOD[:-1] + b',"to":9}'


def with_field(format_: str, offset: int, value: int) -> bytes:
    """The message with another number in its header."""
    message = bytearray(GOOD)
    struct.pack_into(format_, message, offset, value)
    return bytes(message)


@given(samples.parts())
def test_header_leads_to_the_same_delta_as_the_text(parts: DeltaParts) -> None:
    for gone in (False, True):
        message = encode_delta(make_delta(ALICE, Lane(3), parts, gone=gone), positions=True)
        assert read_header(ALICE, message) in (None, decode_delta(ALICE, message))


def test_header_of_a_usual_delta_is_enough() -> None:
    assert read_header(ALICE, GOOD) == DELTA


UNUSUAL = {
    "without positions": encode_delta(DELTA),
    "the positions' format before a header without them": b"\x04" + encode_delta(DELTA)[1:],
    "a later format": b"\x05" + GOOD[1:],
    "another epoch": GOOD[:4] + b"\0" * 8 + GOOD[12:],
    "another start": with_field(">Q", 12, 5),
    "another end": with_field(">Q", 20, 7),
    "an end at its start": with_field(">Q", 20, 4),
    "an end before its start": with_field(">Q", 20, 3),
    "an end beyond 2^53": with_field(">Q", 20, MAX_REVISION + 1),
    "an unknown flag": with_field(">B", 1, 4),
    "no balance": with_field(">B", 1, 2),
    "an erasure": with_field(">B", 1, 1),
    "no text": GOOD[:HEADER],
    "a space before the text": GOOD[:HEADER] + b" " + GOOD[HEADER:],
    "text that is not ASCII": encode_delta(
        make_delta(ALICE, Lane(3), PARTS._replace(balance='{"client_id":"König"}'.encode())), positions=True
    ),
    "no UTF-8": GOOD[:-1] + b',"\xff":1}',
    **{f"{size} bytes": GOOD[:size] for size in range(HEADER)},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_header_is_not_trusted(name: str) -> None:
    assert read_header(ALICE, UNUSUAL[name]) is None


def test_header_of_another_account_is_not_trusted() -> None:
    assert read_header(AccountId("alic"), GOOD) is None
    assert read_header(AccountId("alice2"), GOOD) is None


def test_unusual_delta_is_parsed() -> None:
    decoder = DeltaDecoder()
    assert decoder.decode(ALICE, encode_delta(DELTA)) == DELTA
    with pytest.raises(DecodeError, match="something else"):
        decoder.decode(ALICE, UNUSUAL["another end"])


def refused(decoder: DeltaDecoder, message: bytes) -> bool:
    try:
        decoder.decode(ALICE, message)
    except DecodeError:
        return True
    return False


def test_a_delta_of_each_sample_is_parsed() -> None:
    decoder = DeltaDecoder()
    for _ in range(2):
        for _ in range(SAMPLE_EVERY - 1):
            assert decoder.decode(ALICE, GOOD) == DELTA
        assert decoder.decode(ALICE, GOOD) == DELTA  # parsed
    for _ in range(SAMPLE_EVERY - 1):
        assert not refused(decoder, CONCEALED)
    assert refused(decoder, CONCEALED)


def test_unusual_deltas_do_not_delay_the_sample() -> None:
    decoder = DeltaDecoder()
    for _ in range(SAMPLE_EVERY - 1):
        decoder.decode(ALICE, encode_delta(DELTA))
    assert refused(decoder, CONCEALED)


def test_all_deltas_after_an_invalid_delta_are_parsed_for_a_while() -> None:
    decoder = DeltaDecoder()
    assert refused(decoder, b"")
    for _ in range(SUSPICIOUS):
        assert decoder.decode(ALICE, GOOD) == DELTA
    decoder = DeltaDecoder()
    assert refused(decoder, b"")
    assert all(refused(decoder, CONCEALED) for _ in range(2 * SUSPICIOUS))  # each prolongs it


def test_suspicion_ends() -> None:
    decoder = DeltaDecoder()
    refused(decoder, b"")
    for _ in range(SUSPICIOUS):
        decoder.decode(ALICE, GOOD)
    results: list[bool | Delta] = [refused(decoder, CONCEALED) for _ in range(SAMPLE_EVERY)]
    assert not all(results)
