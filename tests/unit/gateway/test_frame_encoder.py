from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from livebalance.wire.websocket_frame import encode_text

POSITION = Position(Epoch("00000000000000a1"), Revision(1))
texts = st.binary(max_size=3)
frames = texts | texts.map(lambda text: Frame(AccountId("alice"), None, POSITION, text))


@given(st.lists(st.lists(frames, max_size=3)))
def test_encoder_after_any_other_frames_encodes_each_text_in_order(
    batches: list[list[Frame | bytes]],
) -> None:
    encoder = FrameEncoder()
    for batch in batches:
        encoded = [encode_text(frame if isinstance(frame, bytes) else frame.text) for frame in batch]
        assert encoder.encode(batch) == b"".join(encoded)


def test_encoder_given_the_same_frames_again_returns_the_same_bytes() -> None:
    encoder, frame = FrameEncoder(), Frame(AccountId("alice"), None, POSITION, b"{}")
    assert encoder.encode([frame]) is encoder.encode([frame])


def test_encoder_without_frames_encodes_nothing() -> None:
    assert FrameEncoder().encode(()) == b""
