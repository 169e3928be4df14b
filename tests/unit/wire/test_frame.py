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
    decode_client,
    decode_server,
    encode,
    named,
    position,
)
from livebalance.wire.identity import MAX_REVISION, Epoch, Position, Revision, channel_account, channel_name
from livebalance.wire.strict_json import check
from livebalance.wire.timestamp import rfc3339
from tests.unit.wire import samples

request_ids = st.integers(0, MAX_REVISION) | st.text(max_size=64)
channels = samples.accounts.map(channel_name)
positions = st.builds(PositionJson, samples.epochs, samples.revisions)
followings = st.lists(st.builds(ChannelRequest, channels, st.none() | positions), max_size=3)
clients: st.SearchStrategy[ClientFrame] = (
    st.builds(Subscribe, request_ids, followings)
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
    st.none() | samples.times.map(rfc3339),
)
servers: st.SearchStrategy[ServerFrame] = (
    snapshots
    | st.builds(Ok, request_ids)
    | st.builds(Heartbeat, samples.times.map(rfc3339), st.none())
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
surrogates = [
    '{"type":"ping","id":"\ud800"}',
    '{"type":"later","x":"\ud800"}',
    b'{"type":"later","x":"\xff"}',
]
anything = (
    st.binary(max_size=60)
    | st.text(max_size=60)
    | samples.spoiled(clients.map(encode))
    | samples.spoiled(servers.map(encode))
    | objects.map(json.dumps)
    | st.builds('{{"type":"{}","id":1,"x":{}'.format, types, deep)
    | st.builds('{{"type":"ping","id":1,"{}":{}}}'.format, st.sampled_from(["id", "x", "y:"]), json_texts)
    | st.sampled_from(surrogates)
)


@given(clients)
def test_a_client_frame_comes_back(frame: ClientFrame) -> None:
    assert decode_client(encode(frame)) == frame


@given(servers)
def test_a_server_frame_comes_back(frame: ServerFrame) -> None:
    assert decode_server(encode(frame)) == frame


@given(anything)
def test_whatever_a_client_sends_is_a_frame_or_a_frame_error_that_can_be_answered(text: bytes | str) -> None:
    try:
        frame = decode_client(text)
    except FrameError as refused:
        encode(Error(refused.code, refused.message, temporary=False))
        if refused.id is not None:
            encode(Ok(refused.id))
    else:
        if not isinstance(frame, Auth):
            encode(Ok(frame.id))
        check(text)  # however it was read, it is what every reader reads alike


@given(anything)
def test_whatever_a_gateway_sends_is_a_frame_or_nothing_or_a_decode_error(text: bytes | str) -> None:
    with contextlib.suppress(DecodeError):
        decode_server(text)


@given(samples.epochs, samples.revisions)
def test_a_position_comes_back(epoch: Epoch, revision: Revision) -> None:
    at = Position(epoch, revision)
    assert position(named(at)) == at


@given(st.text(max_size=20), st.integers())
def test_a_position_that_was_never_given_out_is_none(epoch: str, revision: int) -> None:
    found = position(PositionJson(epoch, revision))
    assert found is None or (found.epoch, found.revision) == (epoch, revision)


@given(st.text(max_size=80) | channels)
def test_a_channel_is_an_account_or_a_decode_error(channel: str) -> None:
    with contextlib.suppress(DecodeError):
        assert channel_name(channel_account(channel)) == channel


@given(st.text() | objects.map(json.dumps) | st.sampled_from(['{"x":' + "[" * 9999, '{"code":"\ud800"}']))
def test_any_reason_of_a_close_asks_for_a_wait_or_nothing(reason: str) -> None:
    wait = retry_after_ms(reason)
    assert wait is None or 0 <= wait <= 3_600_000
