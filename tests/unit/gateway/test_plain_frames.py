from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from livebalance.gateway.server.plain_frames import PlainFrame, read_plain_frame
from livebalance.wire.frame import MAX_CLIENT_FRAME

data_frames = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.binary(max_size=125) | st.binary(min_size=126, max_size=300),
    fin=st.booleans(),
)
control_frames = st.builds(
    Frame, st.sampled_from([Opcode.PONG, Opcode.PING]), st.just(b"") | st.binary(max_size=125)
)


def encode(frame: Frame, *, mask: bool = True) -> bytes:
    return frame.serialize(mask=mask)


def library_frames(data: bytes) -> list[tuple[Opcode, bytes, bool]]:
    protocol = Protocol(Side.SERVER, state=OPEN, max_size=MAX_CLIENT_FRAME)
    protocol.receive_data(data)
    return [
        (event.opcode, bytes(event.data), event.fin)
        for event in protocol.events_received()
        if isinstance(event, Frame)
    ]


@given(st.binary(max_size=9), data_frames | control_frames, st.binary(max_size=3))
def test_plain_frame_is_what_websockets_reads(before: bytes, frame: Frame, after: bytes) -> None:
    encoded = encode(frame)
    plain = read_plain_frame(before + encoded + after, len(before))
    is_plain = frame.fin and (frame.opcode is Opcode.TEXT or (frame.opcode is Opcode.PONG and not frame.data))
    if not is_plain:
        assert plain is None
        return
    assert plain
    assert plain.end == len(before) + len(encoded)
    ((opcode, text, _),) = library_frames(encoded)
    assert (opcode, text) == (Opcode.PONG if plain.text is None else Opcode.TEXT, plain.text or b"")


@given(st.binary(max_size=40))
def test_random_bytes_are_read_as_websockets_reads_them(data: bytes) -> None:
    if plain := read_plain_frame(data, 0):
        opcode, text, fin = library_frames(data)[0]
        assert (opcode, text, fin) == (
            Opcode.PONG if plain.text is None else Opcode.TEXT,
            plain.text or b"",
            True,
        )


@given(st.integers(0, 200), st.data())
def test_part_of_a_frame_is_left_to_websockets(size: int, data: st.DataObject) -> None:
    encoded = encode(Frame(Opcode.TEXT, b"x" * size))
    assert read_plain_frame(encoded[: data.draw(st.integers(0, len(encoded) - 1))], 0) is None


def test_frame_that_is_too_large_or_not_masked_is_left_to_websockets() -> None:
    assert read_plain_frame(encode(Frame(Opcode.TEXT, b"x" * (MAX_CLIENT_FRAME + 1))), 0) is None
    assert read_plain_frame(encode(Frame(Opcode.TEXT, b"x" * 20), mask=False), 0) is None
    largest = encode(Frame(Opcode.TEXT, b"x" * MAX_CLIENT_FRAME))
    assert read_plain_frame(largest, 0) == PlainFrame(b"x" * MAX_CLIENT_FRAME, len(largest))


def test_length_in_more_bytes_than_needed_is_left_to_websockets() -> None:
    assert read_plain_frame(b"\x81\xfe\x00\x05\0\0\0\0hello", 0) is None
    assert read_plain_frame(b"\x81\xff" + (200).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 200, 0) is None
