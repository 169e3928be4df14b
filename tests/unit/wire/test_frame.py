import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.close import retry_after_ms
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    Auth,
    ChannelRequest,
    ClientFrame,
    Error,
    FrameError,
    Heartbeat,
    Ok,
    Ping,
    PositionJson,
    ServerFrame,
    Snapshot,
    Subscribe,
    Unsubscribe,
    decode_client_frame,
    decode_server_frame,
    encode_frame,
    encode_position,
    parse_position,
)
from livebalance.wire.identity import MAX_REVISION, Epoch, Position, Revision, channel_account, channel_name
from livebalance.wire.strict_json import check_strict
from livebalance.wire.timestamp import format_rfc3339
from tests.unit.wire import samples

request_ids = st.integers(0, MAX_REVISION) | st.text(max_size=64)
channels = samples.accounts.map(channel_name)
positions = st.builds(PositionJson, samples.epochs, samples.revisions)
channel_requests = st.lists(st.builds(ChannelRequest, channels, st.none() | positions), max_size=3)
client_frames: st.SearchStrategy[ClientFrame] = (
    st.builds(Subscribe, request_ids, channel_requests)
    | st.builds(Unsubscribe, request_ids, st.lists(channels, max_size=3))
    | st.builds(Ping, request_ids)
)
snapshots = st.builds(
    Snapshot,
    channels,
    samples.epochs,
    samples.revisions,
    st.sampled_from(["subscribed", "too_far", "ahead", "epoch"]),
    st.none() | samples.balance_views,
    st.lists(samples.transfer_views, max_size=3),
    st.none() | st.text(max_size=10),
    st.none() | samples.times.map(format_rfc3339),
)
server_frames: st.SearchStrategy[ServerFrame] = (
    snapshots
    | st.builds(Ok, request_ids)
    | st.builds(Heartbeat, samples.times.map(format_rfc3339), st.none())
    | st.builds(Error, st.just("limit"), st.text(max_size=10), st.booleans(), request_ids)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
types = st.sampled_from(["subscribe", "unsubscribe", "ping", "delta", "snapshot", "ok", "later"])
others = {"id": json_values, "channels": json_values, "x": json_values}
objects = st.fixed_dictionaries({"type": types}, optional=others)
deep = st.sampled_from(["[" * 9999, '{"a":' * 9999])
json_texts = json_values.map(json.dumps)
invalid_unicode = [
    '{"type":"ping","id":"\ud800"}',
    '{"type":"later","x":"\ud800"}',
    b'{"type":"later","x":"\xff"}',
]
any_text = (
    st.binary(max_size=60)
    | st.text(max_size=60)
    | samples.corrupted(client_frames.map(encode_frame))
    | samples.corrupted(server_frames.map(encode_frame))
    | objects.map(json.dumps)
    | st.builds('{{"type":"{}","id":1,"x":{}'.format, types, deep)
    | st.builds('{{"type":"ping","id":1,"{}":{}}}'.format, st.sampled_from(["id", "x", "y:"]), json_texts)
    | st.sampled_from(invalid_unicode)
)


@given(client_frames)
def test_client_frame_round_trips(frame: ClientFrame) -> None:
    assert decode_client_frame(encode_frame(frame)) == frame


@given(server_frames)
def test_server_frame_round_trips(frame: ServerFrame) -> None:
    assert decode_server_frame(encode_frame(frame)) == frame


@given(any_text)
def test_client_text_is_a_frame_or_raises_a_frame_error_that_can_be_answered(text: bytes | str) -> None:
    try:
        frame = decode_client_frame(text)
    except FrameError as error:
        encode_frame(Error(error.code, error.message, temporary=False))
        if error.id is not None:
            encode_frame(Ok(error.id))
    else:
        if not isinstance(frame, Auth):
            encode_frame(Ok(frame.id))
        check_strict(text)  # the fast path accepts nothing that this check rejects


@given(any_text)
def test_server_text_is_a_frame_or_none_or_raises_decode_error(text: bytes | str) -> None:
    with contextlib.suppress(DecodeError):
        decode_server_frame(text)


@given(samples.epochs, samples.revisions)
def test_position_round_trips(epoch: Epoch, revision: Revision) -> None:
    position = Position(epoch, revision)
    assert parse_position(encode_position(position)) == position


@given(st.text(max_size=20), st.integers())
def test_impossible_position_is_none(epoch: str, revision: int) -> None:
    position = parse_position(PositionJson(epoch, revision))
    assert position is None or (position.epoch, position.revision) == (epoch, revision)


@given(st.text(max_size=80) | channels)
def test_channel_names_an_account_or_raises_decode_error(channel: str) -> None:
    with contextlib.suppress(DecodeError):
        assert channel_name(channel_account(channel)) == channel


@given(st.text() | objects.map(json.dumps) | st.sampled_from(['{"x":' + "[" * 9999, '{"code":"\ud800"}']))
def test_close_reason_gives_a_wait_within_an_hour_or_none(reason: str) -> None:
    wait = retry_after_ms(reason)
    assert wait is None or 0 <= wait <= 3_600_000
