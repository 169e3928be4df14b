from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from livebalance.wire.websocket_frame import encode_text

at_the_limits = st.sampled_from([125, 126, 127, 65535, 65536, 70000]).map(bytes)


@given(st.binary(max_size=200) | at_the_limits)
def test_encode_text_equals_the_frame_of_the_websockets_library(text: bytes) -> None:
    assert encode_text(text) == Frame(Opcode.TEXT, text).serialize(mask=False)
