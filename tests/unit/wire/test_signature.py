"""Signed messages: which messages a gateway accepts with which keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.signature import SignatureError, SigningKey, verified_message

KEY, OTHER = SigningKey("k" * 32), SigningKey("o" * 32)
CHANNEL = b"livebalance:account:alice"
MESSAGE = b"\x02\x00\x00\x00{}"


def reason(keys: list[SigningKey], channel: bytes, message: bytes) -> str | None:
    try:
        verified_message(keys, channel, message)
    except SignatureError as error:
        return error.reason
    return None


@given(st.binary(max_size=99), st.binary(max_size=99))
def test_signed_message_is_verified_with_its_key_among_others(channel: bytes, message: bytes) -> None:
    signed = KEY.sign(channel, message)
    for keys in ([], [KEY], [OTHER, KEY], [KEY, OTHER]):
        assert verified_message(keys, channel, signed) == message
    assert reason([OTHER], channel, signed) == "forged"


@pytest.mark.parametrize(
    ("sent", "reason"), [(MESSAGE, "unsigned"), (OTHER.sign(CHANNEL, MESSAGE), "forged")]
)
def test_error_names_the_reason(sent: bytes, reason: str) -> None:
    with pytest.raises(SignatureError, match=f"^the message is {reason}$"):
        verified_message([KEY], CHANNEL, sent)


def test_key_depends_on_its_secret_only() -> None:
    assert SigningKey("k" * 32).sign(CHANNEL, MESSAGE) == KEY.sign(CHANNEL, MESSAGE)
    assert SigningKey("k" * 33).sign(CHANNEL, MESSAGE) != KEY.sign(CHANNEL, MESSAGE)


def test_signature_is_that_of_every_release() -> None:
    """Gateways and projectors of two releases run side by side during an upgrade."""
    signed = KEY.sign(CHANNEL, MESSAGE)
    assert signed.hex() == "03609fa025b9d3ca37ef63f6c1a22da81e020000007b7d"


def test_unsigned_message_is_accepted_without_keys_only() -> None:
    assert verified_message([], CHANNEL, MESSAGE) == MESSAGE
    assert reason([KEY], CHANNEL, MESSAGE) == "unsigned"
    assert reason([KEY], CHANNEL, b"") == "unsigned"


@pytest.mark.parametrize(
    "channel", [b"livebalance:account:bob", b"other:account:alice", b"livebalance:lane:0"]
)
def test_message_of_another_channel_is_forged(channel: bytes) -> None:
    assert reason([KEY], channel, KEY.sign(CHANNEL, MESSAGE)) == "forged"


@given(st.integers(0, 16 + len(MESSAGE)), st.integers(1, 255))
def test_message_with_another_byte_is_rejected(index: int, flip: int) -> None:
    signed = bytearray(KEY.sign(CHANNEL, MESSAGE))
    signed[index] ^= flip
    assert reason([KEY], CHANNEL, bytes(signed)) == ("unsigned" if index == 0 else "forged")


@given(st.integers(0, 16 + len(MESSAGE)))
def test_shortened_message_is_rejected(length: int) -> None:
    assert reason([KEY], CHANNEL, KEY.sign(CHANNEL, MESSAGE)[:length])
